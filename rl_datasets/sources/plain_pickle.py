"""Reads pickles of arrays and plain containers, and runs nothing that they name.

`pickle.load` calls whatever a file names. Here a file's instructions are followed one by one, and
build nothing but

    None, bool, int, float, str, bytes
    list, tuple, dict, set, frozenset, collections.OrderedDict and collections.deque
    NumPy's arrays, scalars and dtypes of numbers and booleans
    JAX's arrays, as NumPy's, and Flax's FrozenDict, as a dict

Any other class or function, and whatever it would have made, is a `Foreign`, which has a name and
does nothing. So a file may hold the state of an optimiser beside the arrays that are wanted.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import pathlib
import pickletools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_datasets import errors

MAX_BYTES = 1 << 30
MAX_INSTRUCTIONS = 1 << 25
MAX_AXES = 32  # of an array, as in NumPy 1

_COPY_AGAIN = "copy it again, or name another"
_ARGUMENTS = {  # instructions that put their argument on the stack
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: Mapping[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME"}
_KEYS = (str, int, float, bool, bytes, type(None), np.generic)
_NUMBERS = re.compile(r"[biufc]\d{1,2}")  # NumPy's codes of dtypes


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A class or function that is not built here, or what it would have made."""

    name: str


def read(path: pathlib.Path) -> Any:
    """Reads a file.

    Raises:
      DatasetError: the file cannot be read, is too large, truncated, damaged, or holds an array of
        something else than numbers.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise errors.DatasetError(
                f"{path} has {size} bytes, and at most {MAX_BYTES} are read: name another file"
            )
        content = path.read_bytes()
    except OSError as error:
        raise errors.DatasetError(
            f"{path} cannot be read ({error.strerror}): name a file that can"
        ) from error
    return loads(content, str(path))


def loads(content: bytes, name: str) -> Any:
    """Reads a pickle that is in memory.

    Args:
      content: the pickle.
      name: of its file, for errors.

    Raises:
      DatasetError: as of `read`.
    """
    try:
        return _Machine(len(content)).run(content)
    except Exception as error:  # A damaged pickle can raise almost anything.
        raise errors.DatasetError(
            f"{name} is truncated, damaged or no pickle of arrays ({error}): {_COPY_AGAIN}"
        ) from error


class _Machine:
    """The stack and the memo that a pickle's instructions work on."""

    def __init__(self, size: int):
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stack under each mark
        self._memo: dict[int, Any] = {}
        # Data is in the file, perhaps as text, then in bytes and then in an array.
        self._bytes_left = 2 * size

    def run(self, content: bytes) -> Any:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if instruction.name == "STOP":
                return self._stack.pop()
            if count == MAX_INSTRUCTIONS:
                raise ValueError(f"it has more than {MAX_INSTRUCTIONS} instructions")
            self._follow(instruction.name, argument)

    def _follow(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _ARGUMENTS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise ValueError(f"it has {name} where there is less")
            stack[-count:] = [tuple(stack[-count:])]
        elif name not in _IGNORED and not self._move(name, argument):
            self._build(name, argument)

    def _move(self, name: str, argument: Any) -> bool:
        """Follows an instruction that makes nothing new; whether it is one."""
        match name:
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "POP_MARK":
                self._items()
            case "POP":
                self._stack.pop()
            case "DUP":
                self._stack.append(self._stack[-1])
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument not in self._memo:
                    raise ValueError("it refers to what it has not made")
                self._stack.append(self._memo[argument])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case _:
                return False
        return True

    def _build(self, name: str, argument: Any) -> None:
        match name:
            case "LIST":
                self._push(self._items())
            case "TUPLE":
                self._push(tuple(self._items()))
            case "DICT":
                self._push(_filled({}, self._items()))
            case "FROZENSET":
                self._push(frozenset(map(_key, self._items())))
            case "APPEND":
                item = self._stack.pop()
                _extend(self._stack[-1], [item])
            case "APPENDS":
                items = self._items()
                _extend(self._stack[-1], items)
            case "ADDITEMS":
                items = self._items()
                _add(self._stack[-1], items)
            case "SETITEM":
                value, key = self._stack.pop(), self._stack.pop()
                _filled(self._stack[-1], [key, value])
            case "SETITEMS":
                items = self._items()
                _filled(self._stack[-1], items)
            case "GLOBAL":
                self._push(Foreign(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                attribute, module = self._stack.pop(), self._stack.pop()
                if not isinstance(attribute, str) or not isinstance(module, str):
                    raise ValueError("it has a class without a name")
                self._push(Foreign(f"{module}.{attribute}"))
            case "REDUCE" | "NEWOBJ":
                arguments, function = self._stack.pop(), self._stack.pop()
                self._push(self._call(function, arguments))
            case "NEWOBJ_EX":
                self._stack[-3:] = [_foreign(self._stack[-3])]
            case "OBJ":
                self._push(_foreign(self._items()[0]))
            case "INST":
                self._items()
                self._push(Foreign(argument.replace(" ", ".")))
            case "BUILD":
                state = self._stack.pop()
                self._set_state(self._stack[-1], state)
            case _:
                raise ValueError(f"it has the instruction {name}")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _items(self) -> list[Any]:
        """What stands above the last mark, which is taken away with it."""
        items, self._stack = self._stack, self._below.pop()
        return items

    def _call(self, function: Any, arguments: Any) -> Any:
        """What a function makes of its arguments, if it is one of those that are known."""
        match _foreign(function).name.replace("numpy._core.", "numpy.core."), arguments:
            case "numpy.core.multiarray._reconstruct", (Foreign("numpy.ndarray"), (0,), b"b"):
                return np.empty(0, np.int8)
            case "numpy.dtype", (code, _, _):
                return _dtype(code)
            case "numpy.core.multiarray.scalar", (dtype, data):
                return self._array(data, dtype, (), "C")[()]
            case "numpy.core.numeric._frombuffer", (data, dtype, shape, ("C" | "F") as order):
                return self._array(data, dtype, shape, order)
            case "numpy.core.numeric._frombuffer", (data, dtype, shape, "K", axes):
                return self._array(data, dtype, shape, "C").transpose(axes)
            case (
                "jax._src.array._reconstruct_array"
                | "jax._src.device_array.reconstruct_device_array",
                (function, of_array, state, _),
            ):
                array = self._call(function, of_array)
                self._set_state(array, state)
                return array
            case "_codecs.encode", (str(text), "latin1"):
                self._claim(len(text))
                return text.encode("latin1")
            case "builtins.bytes" | "__builtin__.bytes", ():
                return b""
            case "builtins.set" | "__builtin__.set", (list(items),):
                return set(map(_key, items))
            case "builtins.frozenset" | "__builtin__.frozenset", (list(items),):
                return frozenset(map(_key, items))
            case "collections.OrderedDict", ():
                return collections.OrderedDict()
            case "collections.deque", () | ((), int() | None):
                return collections.deque(*arguments)
            case "flax.core.frozen_dict.FrozenDict", (dict(items),):
                return items
        return function

    def _set_state(self, target: Any, state: Any) -> None:
        match target, state:
            case np.ndarray(), (_, shape, dtype, is_fortran, bytes(data)):
                self._check_data(data, dtype, shape)
                target.__setstate__((1, shape, dtype, bool(is_fortran), data))
            case np.dtype(), (_, "<" | ">" | "=" | "|" as order, None, None, None, -1, -1, _):
                target.__setstate__(  # type: ignore[attr-defined]
                    (3, order, None, None, None, -1, -1, 0)
                )
            case Foreign(), _:
                pass
            case _:
                raise ValueError(f"it sets the state of a {type(target).__name__}")

    def _array(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        self._check_data(data, dtype, shape)
        return np.ndarray(shape, dtype, data, order=order)

    def _check_data(self, data: Any, dtype: Any, shape: Any) -> None:
        """Checks before an array is made that it is one of numbers, and what it claims."""
        if not isinstance(dtype, np.dtype) or not isinstance(data, bytes | bytearray):
            raise ValueError("it has an array of something else than numbers")
        if type(shape) is not tuple or len(shape) > MAX_AXES:
            raise ValueError("it has an array without a shape")
        if any(type(each) is not int or not 0 <= each <= MAX_BYTES for each in shape):
            raise ValueError("it has an array of no possible shape")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"it has an array of shape {shape} with {len(data)} bytes")
        self._claim(len(data))

    def _claim(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ValueError("its arrays have more bytes than it has")


def _foreign(value: Any) -> Foreign:
    if not isinstance(value, Foreign):
        raise ValueError(f"it calls a {type(value).__name__}")
    return value


def _dtype(code: Any) -> np.dtype:
    """A dtype of its own, whose order of bytes may still be set."""
    if type(code) is not str or not _NUMBERS.fullmatch(code):
        raise ValueError("it has an array of something else than numbers")
    return np.dtype(code, False, True)


def _key(value: Any) -> Any:
    """A value that can be hashed without a call of itself."""
    if not isinstance(value, _KEYS):
        raise ValueError(f"it has a key of type {type(value).__name__}")
    return value


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list | collections.deque):
        target.extend(items)
    else:
        _foreign(target)


def _add(target: Any, items: list[Any]) -> None:
    if isinstance(target, set):
        target.update(map(_key, items))
    else:
        _foreign(target)


def _filled(target: Any, items: list[Any]) -> Any:
    """The dict with further keys and values, which take turns in the items."""
    if isinstance(target, dict):
        target.update(zip(map(_key, items[::2]), items[1::2], strict=True))
    else:
        _foreign(target)
    return target
