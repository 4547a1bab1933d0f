"""Exports to NumPy files: nothing is lost, and what is there is whole."""

import pathlib
import tempfile

import hypothesis
import numpy as np
from hypothesis import strategies as st

from rl_datasets.exporting.arrays import to_arrays
from tests.rl_datasets.exporting import versions


def load(folder: pathlib.Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", allow_pickle=False)


@hypothesis.settings(max_examples=25)
@hypothesis.given(st.data())
def test_arrays_hold_every_field_of_every_step(data):
    make, spec = data.draw(
        st.sampled_from([(versions.vectors, versions.VECTORS), (versions.frames, versions.FRAMES)])
    )
    first, second = data.draw(versions.episodes(make)), data.draw(versions.episodes(make))
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "arrays"
        version = versions.write(
            pathlib.Path(scratch) / "1.0.0", spec, {"train": first, "test": second}
        )
        result = to_arrays(version, folder, "all")
        episodes = [*first, *second]
        start, length = load(folder, "episode_start"), load(folder, "episode_length")
        assert result.differences == ()
        assert result.episodes == len(start) == len(length) == len(episodes)
        assert result.transitions == sum(each.num_transitions for each in episodes)
        for name in episodes[0].steps():
            rows = load(folder, f"steps/{name}")
            assert rows.dtype == spec.step_specs()[name].dtype
            assert len(rows) == sum(length)
            assert result.fields[f"steps/{name}"]["sha256"] == versions.sha256(rows)
            for i, each in enumerate(episodes):
                of_episode = rows[start[i] : start[i] + length[i]]
                np.testing.assert_array_equal(of_episode, each.steps()[name])
        for name in spec.metadata:
            values = load(folder, f"metadata/{name}")
            for i, each in enumerate(episodes):
                np.testing.assert_array_equal(values[i], each.metadata[name])
