"""Examples on the wire, held to protobuf's own implementation, which no one here wrote."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_datasets import wire
from tests.optional import optional

tf = optional("tensorflow")

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(width=32, allow_nan=False)
FEATURES = st.dictionaries(
    st.text("abc/", min_size=1, max_size=4),
    st.one_of(
        st.tuples(st.just("bytes_list"), st.lists(st.binary(max_size=300), max_size=4)),
        st.tuples(st.just("float_list"), st.lists(FLOAT, max_size=4)),
        st.tuples(st.just("int64_list"), st.lists(INT64, max_size=4)),
    ),
    max_size=4,
)


def example_of(features: dict) -> tf.train.Example:
    example = tf.train.Example()
    example.features.SetInParent()
    for name, (kind, values) in features.items():
        getattr(example.features.feature[name], kind).value.extend(values)
        getattr(example.features.feature[name], kind).SetInParent()
    return example


@pytest.mark.tensorflow
@given(FEATURES)
def test_what_protobuf_wrote_is_read(features):
    """In whatever order it wrote the features."""
    found = wire.decode_example(example_of(features).SerializeToString())
    assert found.keys() == features.keys()
    for name, (kind, values) in features.items():
        if kind == "bytes_list":
            assert wire.bytes_values(found[name]) == values
        elif kind == "float_list":
            assert wire.float_values(found[name]).tolist() == values
        else:
            assert wire.int64_values(found[name]).tolist() == values
            if len(values) == 1:
                assert wire.int64_value(found[name]) == values[0]
        if kind == "float_list" and len(values) == 1:
            assert wire.float_value(found[name]) == values[0]


@pytest.mark.tensorflow
@given(FEATURES)
def test_protobuf_reads_what_was_written(features):
    def encoded(kind, values):
        if kind == "bytes_list":
            return wire.bytes_list(values)
        if kind == "float_list":
            return wire.float_list(np.array(values, np.float32))
        return wire.int64_list(np.array(values, np.int64))

    record = wire.encode_example({name: encoded(*value) for name, value in features.items()})
    assert tf.train.Example.FromString(record) == example_of(features)


@given(INT64, FLOAT)
def test_a_scalar_is_a_list_of_one(integer, real):
    assert wire.int64_scalar(integer) == wire.int64_list(np.array([integer]))
    assert wire.float_scalar(real) == wire.float_list(np.array([real], np.float32))


@pytest.mark.parametrize("values", [[], [1, 2], [300, -1]])
def test_what_is_no_scalar_is_refused(values):
    record = wire.encode_example(
        {
            "integers": wire.int64_list(np.array(values, np.int64)),
            "reals": wire.float_list(np.array(values, np.float32)),
        }
    )
    features = wire.decode_example(record)
    with pytest.raises(ValueError, match=r"where one was expected|is missing"):
        wire.int64_value(features["integers"])
    with pytest.raises(ValueError, match=r"where one was expected|is missing"):
        wire.float_value(features["reals"])
    with pytest.raises(ValueError, match="a list of int64 values where one of bytes"):
        wire.bytes_values(features["integers"])


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_bytes_from_anywhere_give_features_or_a_value_error(content):
    try:
        features = wire.decode_example(content)
    except ValueError:
        return
    for feature in features.values():
        for values in (wire.bytes_values, wire.float_values, wire.int64_values, wire.int64_value):
            try:
                values(feature)
            except ValueError:
                continue


def test_a_length_without_an_end_is_refused():
    """A million continued bytes, which would add up to a number of as many."""
    with pytest.raises(ValueError, match="truncated or too long"):
        wire.decode_example(b"\x0a" + b"\xff" * 1_000_000)
