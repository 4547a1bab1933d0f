"""Our bytes are TFDS's bytes: compared with TFDS's own serializer, which no one here wrote."""

import dataclasses
import itertools

import dm_env.specs
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames, encode_png
from rl_datasets.published import encoding
from rl_datasets.published.features import features_dict
from tests.optional import optional
from tests.rl_datasets.publishing import synthetic

tf = optional("tensorflow")

DTYPES = ["float32", "float64", "bool", "uint8", "int8", "int32", "uint32", "int64", "uint64"]


def serialized_by_tfds(episode: Episode, spec: EpisodeSpec) -> tf.train.Example:
    features = features_dict(spec)
    serializer = tfds.core.ExampleSerializer(features.get_serialized_info())
    steps = dict(episode.steps())
    for name, field_spec in spec.step_specs().items():
        if encoding.storage(field_spec) == encoding.PNG:  # Which TFDS would deflate otherwise.
            steps[name] = getattr(steps[name], "pngs", None) or encode_png(steps[name])
    if isinstance(spec.observation, dict):
        observed = {name: steps.pop(f"observation/{name}") for name in spec.observation}
        steps["observation"] = observed
    metadata = {
        name: encode_png(value[None])[0]
        if encoding.storage(spec.metadata[name]) == encoding.PNG
        else value
        for name, value in episode.metadata.items()
    }
    example = features.encode_example({"steps": steps, **metadata})
    return serializer.get_tf_example(example)


def decoded_by_tfds(record: bytes, spec: EpisodeSpec) -> dict:
    (example,) = tf.data.Dataset.from_tensors(record).map(features_dict(spec).deserialize_example)
    steps = list(tfds.as_numpy(example.pop("steps")))
    return {
        "steps": {name: np.stack([step[name] for step in steps]) for name in steps[0]},
        **tfds.as_numpy(example),
    }


@st.composite
def specs_and_episodes(draw) -> tuple[EpisodeSpec, Episode]:
    """Any episode: any dtypes and shapes, any values."""
    length = draw(st.integers(1, 6))

    def array(max_rank: int = 3) -> tuple[dm_env.specs.Array, np.ndarray]:
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=max_rank, max_side=3))
        values = draw(hnp.arrays(dtype, (length + 1, *shape)))
        return dm_env.specs.Array(shape, dtype), values

    names = draw(st.lists(st.text("abcxyz_", min_size=1, max_size=5), max_size=3, unique=True))
    extras = {f"extra_{name}": array() for name in names}
    metadata = {f"meta_{name}": array() for name in names}
    observed = draw(st.lists(st.text("abcxyz_", min_size=1, max_size=5), max_size=3, unique=True))
    (observation_spec, observation), (action_spec, action) = array(), array()
    if observed:
        arrays = {name: array() for name in observed}
        observation_spec = {name: array_spec for name, (array_spec, _) in arrays.items()}
        observation = {name: values for name, (_, values) in arrays.items()}
    text = draw(st.text(st.characters(exclude_categories=["Cs"])))
    spec = EpisodeSpec(
        observation=observation_spec,
        action=action_spec,
        extras={name: field_spec for name, (field_spec, _) in extras.items()},
        metadata={
            "text": dm_env.specs.StringArray(()),
            **{name: field_spec for name, (field_spec, _) in metadata.items()},
        },
    )
    episode = Episode(
        observation=observation,
        action=action,
        reward=draw(hnp.arrays(np.float32, length + 1)),
        discount=draw(hnp.arrays(np.float32, length + 1)),
        is_first=draw(hnp.arrays(np.bool_, length + 1)),
        is_last=draw(hnp.arrays(np.bool_, length + 1)),
        is_terminal=draw(hnp.arrays(np.bool_, length + 1)),
        extras={name: values for name, (_, values) in extras.items()},
        metadata={"text": text, **{name: values[0] for name, (_, values) in metadata.items()}},
    )
    return spec, episode


@pytest.mark.tensorflow
@settings(max_examples=60, deadline=None)
@given(specs_and_episodes())
def test_bytes_are_those_of_tfds(drawn):
    spec, episode = drawn
    expected = serialized_by_tfds(episode, spec)
    record = encoding.encode_episode(episode, spec)
    ours = tf.train.Example.FromString(record)
    for name, feature in expected.features.feature.items():
        assert ours.features.feature[name].SerializeToString() == feature.SerializeToString(), name
    names = sorted(expected.features.feature)
    # Where one name begins another, protobuf's implementations disagree on what comes first.
    if not any(after.startswith(name) for name, after in itertools.pairwise(names)):
        assert record == expected.SerializeToString(deterministic=True)


@settings(max_examples=60, deadline=None)
@given(specs_and_episodes())
def test_decoding_gives_back_every_bit(drawn):
    spec, episode = drawn
    decoded = encoding.decode_episode(encoding.encode_episode(episode, spec), spec)
    for name, field in episode.steps().items():
        assert decoded.steps()[name].dtype == field.dtype, name
        assert np.asarray(decoded.steps()[name]).tobytes() == field.tobytes(), name
    for name, value in episode.metadata.items():
        assert np.array(decoded.metadata[name]).tobytes() == np.array(value).tobytes(), name


def test_bytes_of_a_whole_episode_are_those_of_tfds():
    episode = synthetic.episode(4)
    expected = serialized_by_tfds(episode, synthetic.SPEC).SerializeToString(deterministic=True)
    assert encoding.encode_episode(episode, synthetic.SPEC) == expected


@pytest.mark.tensorflow
def test_tfds_decodes_what_was_encoded():
    episode = synthetic.episode(6)
    decoded = decoded_by_tfds(encoding.encode_episode(episode, synthetic.SPEC), synthetic.SPEC)
    for name, field in episode.steps().items():
        assert decoded["steps"][name].dtype == field.dtype
        np.testing.assert_array_equal(decoded["steps"][name], field, err_msg=name)
    assert decoded["agent"].decode() == "agent é 6"
    assert decoded["episode_id"] == 6


@pytest.mark.tensorflow
def test_frames_that_are_encoded_pass_through_as_they_are():
    """As TFDS's own builders of RL Unplugged give it the bytes of PNG files."""
    episode = synthetic.episode(4)
    frames = episode.extras["frame"]
    theirs = [tf.io.encode_png(frame).numpy() for frame in frames]
    assert theirs != encode_png(frames)
    encoded = dataclasses.replace(
        episode, extras={**episode.extras, "frame": EncodedFrames(theirs, (4, 4, 1))}
    )
    record = encoding.encode_episode(encoded, synthetic.SPEC)
    expected = serialized_by_tfds(encoded, synthetic.SPEC)
    assert record == expected.SerializeToString(deterministic=True)
    decoded = encoding.decode_episode(record, synthetic.SPEC).extras["frame"]
    assert decoded.pngs == theirs
    np.testing.assert_array_equal(decoded, frames)


def test_a_frame_is_an_image_of_tfds():
    features = features_dict(synthetic.SPEC)
    image = features["steps"].feature["frame"]
    assert isinstance(image, tfds.features.Image)
    assert (image.shape, image.encoding_format) == ((4, 4, 1), "png")


@pytest.mark.tensorflow
def test_a_long_field_of_integers_is_encoded_in_pieces():
    """More values than are encoded at once, of every varint length."""
    steps = (1 << 18) + 5
    bits = np.arange(steps) % 64
    observation = (np.uint64(1) << bits.astype(np.uint64)).view(np.int64) * np.where(
        bits % 3, 1, -1
    )
    spec = EpisodeSpec(
        observation=dm_env.specs.Array((), np.int64), action=dm_env.specs.Array((), np.int32)
    )
    episode = Episode.from_transitions(
        observation, np.zeros(steps - 1, np.int32), np.zeros(steps - 1), is_terminal=True
    )
    record = encoding.encode_episode(episode, spec)
    parsed = tf.train.Example.FromString(record).features.feature["steps/observation"]
    np.testing.assert_array_equal(parsed.int64_list.value, observation)
    decoded = encoding.decode_episode(record, spec)
    np.testing.assert_array_equal(decoded.observation, observation)


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">f8", ">i4", "g", "c8"])
@pytest.mark.parametrize("field", ["observation", "goal"])
def test_a_dtype_that_would_lose_its_values_is_refused_by_its_fields_name(field, dtype):
    """Whatever the spec itself is called, which is nothing as a rule."""
    array = dm_env.specs.Array((3,), np.dtype(dtype))
    extras = synthetic.SPEC.extras | ({field: array} if field == "goal" else {})
    spec = dataclasses.replace(synthetic.SPEC, extras=extras)
    if field == "observation":
        spec = dataclasses.replace(spec, observation=array)
    with pytest.raises(DatasetError, match=f"field '{field}' has dtype"):
        features_dict(spec)


def test_a_record_of_another_dataset_is_refused():
    record = encoding.encode_episode(synthetic.episode(1), synthetic.SPEC)
    wanting_more = dataclasses.replace(
        synthetic.SPEC, metadata={"absent": dm_env.specs.Array((), np.int64)}
    )
    with pytest.raises(DatasetError, match="does not hold an episode of this dataset"):
        encoding.decode_episode(record, wanting_more)
    with pytest.raises(DatasetError, match=r"unknown to this dataset.*'weight'"):
        encoding.decode_episode(record, dataclasses.replace(synthetic.SPEC, metadata={}))
    for cut in range(0, len(record), 7):
        with pytest.raises(DatasetError, match="a record does not hold an episode of this dataset"):
            encoding.decode_episode(record[:cut], synthetic.SPEC)


def test_features_document_what_they_mean():
    steps = features_dict(synthetic.SPEC)["steps"].feature
    assert "zero at the last step" in steps["reward"].doc.desc
