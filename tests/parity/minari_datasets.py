"""Datasets that Minari's own collector writes, and what its own reader reads of them.

`tests/rl_datasets/sources/minari_files.py` reads them; run by `-m tests.parity`.

    file/<dataset>/<path>               the bytes of a file
    read/<dataset>/<episode>/<array>    what Minari's reader gives
"""

import os
import pathlib
import sys
import tempfile

import gymnasium
import minari
import numpy as np
from gymnasium import spaces

LENGTHS = {"terminated": 5, "truncated": 3, "broken off": 2}  # of the episodes, by their end
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
FRAME = spaces.Box(0, 255, (33, 32, 3), np.uint8)
SMALL_FRAME = spaces.Box(0, 255, (4, 6, 3), np.uint8)
SEVERAL = spaces.Dict(position=spaces.Box(-np.inf, np.inf, (2,), np.float64), camera=SMALL_FRAME)


class Environment(gymnasium.Env):
    """Random observations, and rewards that float32 cannot hold."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space
        self.ends = "terminated"

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.action_space.seed(seed)
        self.taken = 0
        return self.observation_space.sample(), {"taken": np.array([0.0])}

    def step(self, action):
        self.taken += 1
        is_over = self.taken == LENGTHS[self.ends]
        ends = [is_over and self.ends == end for end in ("terminated", "truncated")]
        info = {"taken": np.array([float(self.taken)])}
        return self.observation_space.sample(), self.taken / 3, *ends, info


def write(name, observation_space, action_space, **options):
    """A dataset of three episodes, which is a `MinariDataset`."""
    environment = Environment(observation_space, action_space)
    collector = minari.DataCollector(environment, record_infos=True)
    for seed, end in enumerate(LENGTHS):
        environment.ends = end
        collector.reset(seed=seed)
        for _ in range(LENGTHS[end]):
            collector.step(action_space.sample())
    return collector.create_dataset(
        f"tiny/{name}-v0",
        algorithm_name="uniform",
        author="A. Person",
        code_permalink="https://example.org/code",
        description="Ends in each way.",
        **options,
    )


def read(dataset):
    """What Minari's own reader gives, by episode and array."""
    found = {}
    for episode in dataset.iterate_episodes():
        observations = episode.observations
        if not isinstance(observations, dict):
            observations = {"": observations}
        arrays = {f"observations/{key}".rstrip("/"): each for key, each in observations.items()}
        for name in ("actions", "rewards", "terminations", "truncations"):
            arrays[name] = getattr(episode, name)
        found |= {f"{episode.id}/{name}": array for name, array in arrays.items()}
    return found


def main(values: pathlib.Path) -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        spec = gymnasium.envs.registration.EnvSpec("CartPole-v1")
        datasets = {
            "box": write("box", VECTOR, spaces.Box(-2, 2, (2,), np.float32), eval_env=spec),
            "discrete": write("discrete", VECTOR, spaces.Discrete(4, start=1)),
            "dict": write("dict", SEVERAL, spaces.Discrete(3)),
            "jpeg": write("jpeg", FRAME, spaces.Discrete(3)),
            "text": write("text", spaces.Text(4), spaces.Discrete(3)),
            "several_actions": write("several_actions", VECTOR, spaces.MultiDiscrete([2, 3])),
        }
        for name, dataset in datasets.items():
            root = pathlib.Path(folder, "tiny", f"{name}-v0")
            for path in sorted(root.rglob("*.*")):
                content = np.frombuffer(path.read_bytes(), np.uint8)
                found[f"file/{name}/{path.relative_to(root)}"] = content
            if name != "text":
                found |= {f"read/{name}/{key}": array for key, array in read(dataset).items()}
    np.savez_compressed(values, **found)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
