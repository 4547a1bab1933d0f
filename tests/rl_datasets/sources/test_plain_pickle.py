"""Pickles of arrays and plain containers, read without running what they name."""

import collections
import contextlib
import os
import pathlib
import pickle
import struct

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rl_datasets import errors
from rl_datasets.sources import plain_pickle
from rl_datasets.sources.plain_pickle import Foreign

PROTOCOLS = range(6)
KEYS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DTYPES = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?"),
    arrays.complex_number_dtypes(endianness="?"),
)
ARRAYS = arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0))
LEAVES = st.one_of(
    *(KEYS, st.binary(), st.integers(-(10**40), 10**40), DTYPES, ARRAYS),
    ARRAYS.map(np.asfortranarray),
    arrays.arrays(DTYPES, (4,)).map(lambda array: array[0]),
    st.sets(KEYS),
    st.frozensets(KEYS),
)
NESTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner),
        st.dictionaries(KEYS, inner).map(collections.OrderedDict),
        st.builds(collections.deque, st.lists(inner), st.none() | st.integers(0, 9)),
    ),
    max_leaves=12,
)


def loads(content):
    return plain_pickle.loads(content, "a file")


def assert_same(read, expected):
    """To the last bit, type and order of keys."""
    assert type(read) is type(expected)
    if isinstance(expected, np.ndarray | np.generic):
        assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
        assert read.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert list(read) == list(expected)
        assert list(map(type, read)) == list(map(type, expected))
        for key, value in expected.items():
            assert_same(read[key], value)
    elif isinstance(expected, list | tuple | collections.deque):
        assert len(read) == len(expected)
        assert getattr(read, "maxlen", None) == getattr(expected, "maxlen", None)
        for one, other in zip(read, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float):
        assert struct.pack("d", read) == struct.pack("d", expected)
    else:
        assert read == expected


class TestWhatIsRead:
    @hypothesis.given(NESTS, st.sampled_from(PROTOCOLS))
    def test_a_nest_is_what_pickle_reads(self, value, protocol):
        content = pickle.dumps(value, protocol)
        assert_same(loads(content), pickle.loads(content))

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_what_stands_twice_is_one_object(self, protocol):
        inner = [1]
        inner.append(inner)
        one, other = loads(pickle.dumps([inner, inner], protocol))
        assert one is other
        assert one[1] is one

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_arrays_of_newer_numpy(self, protocol):
        """Whose modules have other names."""
        value = {"array": np.arange(6.0).reshape(2, 3), "scalar": np.float32(2.5)}
        newer = pickle.dumps(value, protocol)
        if protocol < 4:
            newer = newer.replace(b"numpy.core.", b"numpy._core.")
        else:  # A name has its length before it, and the frame, which is left out, that of all.
            newer = newer[:2] + newer[11:]
            for name in (b"numpy.core.multiarray", b"numpy.core.numeric"):
                as_now = name.replace(b"core", b"_core")
                newer = newer.replace(bytes([len(name)]) + name, bytes([len(as_now)]) + as_now)
        assert b"numpy._core" in newer
        assert_same(loads(newer), value)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_orders_of_axes_and_of_bytes(self, protocol, order):
        for dtype in (">i4", "<i4", "<f8", ">c16", "u1", "?"):
            array = np.asarray(np.arange(24).reshape(2, 3, 4) % 7, dtype=dtype, order=order)
            content = pickle.dumps([array, array.dtype], protocol)
            read, expected = loads(content), pickle.loads(content)
            assert_same(read, expected)
            np.testing.assert_array_equal(read[0], array)
            assert read[0].flags.f_contiguous == (order == "F")

    def test_an_array_of_jax_is_one_of_numpy(self):
        """As JAX 0.4 and JAX 0.3 reduce theirs, around NumPy's own reduction."""
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        for name in (
            "jax._src.array._reconstruct_array",
            "jax._src.device_array.reconstruct_device_array",
        ):
            content = reduced(name, (*array.__reduce__(), {"weak_type": False}))
            assert_same(loads(content), array)

    def test_a_frozen_dict_is_a_dict(self):
        content = reduced("flax.core.frozen_dict.FrozenDict", ({"a": 1},))
        assert_same(loads(content), {"a": 1})


class _Reduced:
    def __init__(self, function, arguments):
        self._as = function, arguments

    def __reduce__(self):
        return self._as


def reduced(name, arguments):
    """A pickle that asks for a call of what has this name, which need not exist here."""
    module, _, attribute = name.rpartition(".")
    called = f"c{module}\n{attribute}\n".encode()
    return b"\x80\x02" + called + pickle.dumps(arguments, 2)[2:-1] + b"R."


class Object:
    """A class of a user's, with a state and items."""

    def __init__(self):
        self.state = 1

    def __setstate__(self, state):
        raise AssertionError("it was run")


class Items(list):
    pass


class Entries(dict):
    pass


Pair = collections.namedtuple("Pair", "one other")  # As the states of optimisers are.


class TestWhatIsForeign:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        "value", [Object(), Items([1, 2]), Entries(a=1), Pair(1, 2), ValueError("x"), Object, print]
    )
    def test_it_has_a_name_and_what_is_beside_it_is_read(self, value, protocol):
        read = loads(pickle.dumps({"foreign": [value, value], "read": [1, 2]}, protocol))
        assert read["read"] == [1, 2]
        assert all(isinstance(each, Foreign) for each in read["foreign"])
        if protocol >= 2:
            kind = value if value in (Object, print) else type(value)
            assert kind.__name__ in read["foreign"][0].name

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_nothing_is_run(self, protocol, tmp_path):
        mark = tmp_path / "mark"
        content = pickle.dumps([_Reduced(os.system, (f"touch {mark}",)), 1], protocol)
        assert loads(content) == [Foreign(f"{os.system.__module__}.system"), 1]
        assert not mark.exists()
        pickle.loads(content)  # It would have run.
        assert mark.exists()

    @hypothesis.given(
        st.sampled_from(["os.system", "builtins.eval", "builtins.getattr", "numpy.load"]), NESTS
    )
    def test_arguments_make_no_difference(self, name, arguments):
        assert loads(reduced(name, (arguments,))) == Foreign(name)


def array_of(shape, dtype=None, data=b""):
    """A pickle of an array with this state, whatever its data are."""
    dtype = np.dtype(np.float32) if dtype is None else dtype
    reconstruct, arguments, _ = np.empty(0).__reduce__()

    class Array:
        def __reduce__(self):
            return reconstruct, arguments, (1, shape, dtype, False, data)

    return pickle.dumps(Array(), 2)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "exhausted"),
            (b"\x80\x04]", "exhausted"),
            (b"not a pickle", "is truncated, damaged or no pickle of arrays"),
            (pickle.dumps(np.array([object()])), "something else than numbers"),
            (pickle.dumps(np.array(["text"])), "something else than numbers"),
            (pickle.dumps(np.zeros(2, [("a", "f4")])), "something else than numbers"),
            (pickle.dumps({(1, 2): 3}), "a key of type tuple"),
            (array_of((1 << 40,)), "no possible shape"),
            (array_of((1 << 20, 1 << 20)), "with 0 bytes"),
            (array_of((3,), data=b"12345678"), r"of shape \(3,\) with 8 bytes"),
            (array_of((-1,), data=b"1234"), "no possible shape"),
            (array_of((1,) * 65, data=b"1234"), "without a shape"),
            (b"\x80\x02]q\x01h\x02.", "refers to what it has not made"),
            (b"\x80\x02l.", "pop from empty list"),  # no mark
            (b"\x80\x02}]K\x01s.", "a key of type list"),
            (b"\x80\x02K\x01K\x02b.", "sets the state of a int"),
            (b"\x80\x02K\x01)R.", "calls a int"),
            (b"\x80\x04K\x01K\x02\x93.", "a class without a name"),
            (b"\x80\x02\x82\x01.", "the instruction EXT1"),
            (b"\x80\x02K\x01Q.", "the instruction BINPERSID"),
        ],
    )
    def test_in_one_sentence(self, content, why):
        with pytest.raises(errors.DatasetError, match=why) as raised:
            loads(content)
        assert str(raised.value).startswith("a file is truncated, damaged or no pickle of arrays")
        assert "\n" not in str(raised.value)

    def test_data_that_stand_once_and_make_many_arrays(self):
        """Big-endian data are copied."""
        data = bytes(4 * 1000)
        one = pickle.loads(array_of((1000,), np.dtype(">f4"), data))

        class Array:
            def __reduce__(self):
                reconstruct, arguments, _ = one.__reduce__()
                return reconstruct, arguments, (1, (1000,), one.dtype, False, data)

        content = pickle.dumps([Array() for _ in range(50)])
        assert len(content) < 2 * len(data)
        with pytest.raises(errors.DatasetError, match="more bytes than it has"):
            loads(content)

    def test_a_file_that_is_too_large_or_not_there(self, tmp_path, monkeypatch):
        path = tmp_path / "ckpt.1"
        with pytest.raises(errors.DatasetError, match=r"ckpt\.1 cannot be read \(No such file"):
            plain_pickle.read(path)
        path.write_bytes(pickle.dumps([1]))
        assert plain_pickle.read(path) == [1]
        monkeypatch.setattr(plain_pickle, "MAX_BYTES", 3)
        with pytest.raises(errors.DatasetError, match="at most 3 are read"):
            plain_pickle.read(path)

    def test_too_many_instructions(self, monkeypatch):
        monkeypatch.setattr(plain_pickle, "MAX_INSTRUCTIONS", 100)
        assert loads(pickle.dumps(list(range(40)))) == list(range(40))
        with pytest.raises(errors.DatasetError, match="more than 100 instructions"):
            loads(pickle.dumps(list(range(100))))

    @pytest.mark.parametrize(
        "content",
        [
            b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",  # lists in lists
            b"\x80\x02)" + b"\x85" * 200_000 + b".",  # tuples in tuples
            b"\x80\x02)" + b"\x862" * 200 + b".",  # each tuple holds the one before twice
        ],
    )
    def test_nests_take_no_recursion(self, content):
        try:
            value = loads(content)
        except errors.DatasetError:
            return
        assert isinstance(value, list | tuple)

    @hypothesis.given(st.binary(max_size=200))
    def test_noise(self, content):
        read_or_refuse(content)

    @hypothesis.given(NESTS, st.sampled_from(PROTOCOLS), st.data())
    def test_a_flipped_bit_or_a_cut(self, value, protocol, data):
        content = bytearray(pickle.dumps([value, Object(), print], protocol))
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            del content[place:]
            with pytest.raises(errors.DatasetError):
                loads(bytes(content))
            return
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        read_or_refuse(bytes(content))

    @hypothesis.given(
        st.lists(
            st.sampled_from(
                [
                    *(b"(", b")", b"]", b"}", b"\x8f", b"N", b"K\x01", b"\x8c\x01a", b"2", b"0"),
                    *(b"1", b"a", b"e", b"s", b"u", b"t", b"l", b"d", b"\x85", b"\x86", b"\x90"),
                    *(b"\x91", b"\x94", b"h\x00", b"q\x00", b"R", b"b", b"o", b"\x81", b"\x92"),
                    *(b"\x93", b"cos\nsystem\n", b"cnumpy\ndtype\n", b"cnumpy\nndarray\n"),
                    b"cnumpy.core.multiarray\n_reconstruct\n",
                    b"cnumpy.core.multiarray\nscalar\n",
                    *(b"ccollections\ndeque\n", b"ccollections\nOrderedDict\n", b"C\x01b"),
                ]
            ),
            max_size=40,
        )
    )
    def test_any_instructions(self, instructions):
        read_or_refuse(b"\x80\x04" + b"".join(instructions) + b".")


def read_or_refuse(content):
    """Runs nothing: every call of a system's or a user's would raise here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("system", "popen"):
            patch.setattr(os, name, None)
        patch.setattr(pathlib.Path, "write_bytes", None)
        with contextlib.suppress(errors.DatasetError):
            loads(content)
