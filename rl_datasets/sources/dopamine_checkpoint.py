"""Reads the network of a DQN from a checkpoint of Dopamine (Castro et al. 2018, arXiv:1812.06110).

A run keeps its last checkpoints in `<Game>/<run>/checkpoints`. Checkpoint N is

    ckpt.N                              of JAX: a pickle of a dict; `online_params` is the network
    tf_ckpt-N.index, tf_ckpt-N.data-*   of TensorFlow: variables such as `Online/Conv/weights`

and beside it the replay buffer of the same moment, which `sources.dqn_replay` reads. The teachers
of Reincarnating RL (Agarwal et al. 2022, arXiv:2206.01626) are such runs.

The network is Nature DQN's, with padding SAME and pixels divided by 255. A kernel of a convolution
is [height, width, inputs, outputs], of a dense layer [inputs, outputs]; features are flattened in
the order height, width, channel.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_datasets import errors, files
from rl_datasets.sources import atari, plain_pickle, tf_checkpoint

FOLDER_NAME = "checkpoints"
_KERNELS = {  # by the layers' names in Flax
    "Conv_0": (8, 8, 4, 32),
    "Conv_1": (4, 4, 32, 64),
    "Conv_2": (3, 3, 64, 64),
    "Dense_0": (11 * 11 * 64, 512),
}
_HEAD = "Dense_1"
_TF_LAYERS = {
    "Conv": "Conv_0",
    "Conv_1": "Conv_1",
    "Conv_2": "Conv_2",
    "fully_connected": "Dense_0",
    "fully_connected_1": _HEAD,
}
_TF_ARRAYS = {"weights": "kernel", "biases": "bias"}
_NAME = re.compile(r"ckpt\.(\d{1,9})|tf_ckpt-(\d{1,9})\.index")
_LAYER = re.compile(r"(Conv|Dense)_(\d+)")
_WHAT_TO_NAME = (
    "name a local copy of a Dopamine run, <Game>/<run>, or one of its checkpoints, "
    f"<Game>/<run>/{FOLDER_NAME}/ckpt.N"
)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run.

    Attributes:
      path: its file; of TensorFlow its index.
      number: N, of the iteration that it was saved after, counted from 0.
      game: the game, as DQN Replay spells it.
      run: the run's number.
    """

    path: pathlib.Path
    number: int
    game: str
    run: int

    @property
    def sha256(self) -> str:
        """Of its file, in hexadecimal."""
        return files.sha256_of(self.path)


def is_at(path: pathlib.Path) -> bool:
    """Whether `find` finds a checkpoint there, in whatever folder that is."""
    return bool(_NAME.fullmatch(path.name)) or bool(_checkpoints_in(path))


def find(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint that a path names, or the last one of a run.

    Args:
      path: a checkpoint, the folder of checkpoints, or the run's folder `<Game>/<run>`.

    Raises:
      DatasetError: there is no checkpoint, or its folders do not say of which game it is.
    """
    path = files.local_path(path).absolute()
    if path.is_dir():
        found = _checkpoints_in(path)
        if not found:
            raise errors.DatasetError(
                f"{path} holds no checkpoint such as ckpt.399: {_WHAT_TO_NAME}"
            )
        # Beside a checkpoint of TensorFlow, ckpt.N holds everything but the network.
        path = max(found, key=lambda each: (_number(each), each.suffix == ".index"))
    elif not path.is_file():
        raise errors.DatasetError(f"{path} does not exist: {_WHAT_TO_NAME}")
    elif not _NAME.fullmatch(path.name):
        raise errors.DatasetError(f"{path} is no checkpoint by its name: {_WHAT_TO_NAME}")
    game, run, folder_name = path.parts[-4:-1] if len(path.parts) > 4 else ("", "", "")
    if game not in atari.ATARI_GAMES or not run.isdecimal() or folder_name != FOLDER_NAME:
        raise errors.DatasetError(
            f"{path} is not in a folder <Game>/<run>/{FOLDER_NAME}, so nothing says which game it "
            f"plays: {_WHAT_TO_NAME}"
        )
    return Checkpoint(path, _number(path), game, int(run))


def read_network(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Reads the network that the agent acted by.

    Returns:
      float32 arrays by their names in Flax, such as `Conv_0/kernel` and `Dense_1/bias`.

    Raises:
      DatasetError: a file is missing, truncated or damaged, or holds more than arrays or another
        network than a DQN of the game.
    """
    is_pickle = checkpoint.path.name.startswith("ckpt.")
    arrays = (_of_pickle if is_pickle else _of_tensorflow)(checkpoint.path)
    num_actions = atari.ATARI_GAMES[checkpoint.game].num_actions
    kernels = {**_KERNELS, _HEAD: (512, num_actions)}
    shapes = {f"{layer}/kernel": shape for layer, shape in kernels.items()}
    shapes |= {f"{layer}/bias": shape[-1:] for layer, shape in kernels.items()}
    whose = f"the DQN of {checkpoint.game}, which has {num_actions} actions"
    if arrays.keys() != shapes.keys():
        differing = min(arrays.keys() ^ shapes.keys())
        raise errors.DatasetError(
            f"{checkpoint.path} {'has' if differing in arrays else 'lacks'} {differing}, so it "
            f"holds another network than {whose}: {_WHAT_TO_NAME}"
        )
    for name, shape in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype != np.float32:
            raise errors.DatasetError(
                f"{checkpoint.path} holds {name} as {arrays[name].dtype} of shape "
                f"{arrays[name].shape}, where {whose}, has float32 of shape {shape}: "
                f"{_WHAT_TO_NAME}"
            )
        if not np.all(np.isfinite(arrays[name])):
            raise errors.DatasetError(
                f"{checkpoint.path} holds numbers in {name} that are not finite: name another "
                "checkpoint"
            )
    return {name: arrays[name] for name in shapes}


def _checkpoints_in(path: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints of a run, or of its folder of checkpoints."""
    folder = path / FOLDER_NAME if (path / FOLDER_NAME).is_dir() else path
    try:
        return [each for each in folder.iterdir() if _NAME.fullmatch(each.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise errors.DatasetError(
            f"{folder} cannot be read ({error.strerror}): {_WHAT_TO_NAME}"
        ) from error


def _number(path: pathlib.Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match
    return int(match[1] or match[2])


def _of_pickle(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays, by the names that Linen gives to layers.

    Before Linen, Flax numbered all layers of a module together: `Dense_3` follows `Conv_2`.
    """
    tree = _entry(path, plain_pickle.read(path), "the checkpoint", "online_params")
    if isinstance(tree, Mapping) and "params" in tree:
        tree = tree["params"]
    layers = _checked(path, tree, "online_params", dict)
    arrays, counts = {}, {"Conv": 0, "Dense": 0}
    for name in sorted(layers, key=str):
        if match := _LAYER.fullmatch(str(name)):
            kind = match[1]
            linen = f"{kind}_{counts[kind]}"
            counts[kind] += 1
        else:
            linen = str(name)
        layer = _checked(path, layers[name], f"online_params/{name}", dict)
        for of_layer, array in layer.items():
            arrays[f"{linen}/{of_layer}"] = _checked(
                path, array, f"online_params/{name}/{of_layer}", np.ndarray
            )
    return arrays


def _entry(path: pathlib.Path, tree: Any, where: str, name: str) -> Any:
    if name not in (entries := _checked(path, tree, where, dict)):
        raise errors.DatasetError(
            f"{path} has no {name}, so it is no checkpoint of a Dopamine agent in JAX: "
            f"{_WHAT_TO_NAME}"
        )
    return entries[name]


def _checked(path: pathlib.Path, value: Any, where: str, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    is_foreign = isinstance(value, plain_pickle.Foreign)
    what = value.name if is_foreign else type(value).__name__
    raise errors.DatasetError(
        f"{path} holds a {what} as {where}, and only arrays in plain dicts are read: "
        f"{_WHAT_TO_NAME}"
    )


def _of_tensorflow(index: pathlib.Path) -> dict[str, np.ndarray]:
    tensors = tf_checkpoint.read_tensors(index.with_suffix(""))
    return {
        f"{layer}/{array}": tensors[name]
        for of_layer, layer in _TF_LAYERS.items()
        for of_array, array in _TF_ARRAYS.items()
        if (name := f"Online/{of_layer}/{of_array}") in tensors
    }
