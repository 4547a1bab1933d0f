"""The policy that collected one of D4RL's files, from the file's metadata."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import h5py
import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.sources import brac, hdf5

POLICY_LAYERS = ("fc0", "fc1", "last_fc", "last_fc_log_std")
POLICY_KIND = ("nonlinearity", "output_distribution")


def read_policy(path: str | pathlib.Path) -> brac.Layers:
    """Reads the tanh-Gaussian ReLU policy that collected a file, from its metadata.

    Returns:
      (kernel [in, out], bias [out]) of each layer, float32, in order. The last layer's output is
      the mean and the log standard deviation of the Gaussian before tanh; the caller must clip the
      latter to [-20, 2], as rlkit does.

    Raises:
      DatasetError: the file cannot be read, or has no such policy.
    """
    with hdf5.opened(path) as file:
        found = hdf5.datasets(file, path)
        try:
            kind = tuple(hdf5.plain(found[f"metadata/policy/{name}"], path) for name in POLICY_KIND)
            fc0, fc1, mean, log_std = (_layer(found, name, path) for name in POLICY_LAYERS)
        except KeyError as error:
            raise DatasetError(
                f"{path} holds no policy of D4RL's SAC ({error}): name a file of a medium or "
                "expert data set of Gym-MuJoCo v1 or v2"
            ) from error
    if kind != ("relu", "tanh_gaussian"):
        raise DatasetError(
            f"{path} holds a policy of kind {kind}, and a tanh-Gaussian of ReLU layers is needed: "
            "name a file of a medium or expert data set of Gym-MuJoCo v1 or v2"
        )
    if mean[0].shape != log_std[0].shape:
        raise DatasetError(
            f"{path}: the policy's mean and its log standard deviation have kernels of shapes "
            f"{mean[0].shape} and {log_std[0].shape}, which do not match: use another file"
        )
    kernel, bias = (np.concatenate(both, axis=-1) for both in zip(mean, log_std, strict=True))
    layers = [fc0, fc1, (kernel, bias)]
    brac.check_layers(layers, str(path))
    return layers


def _layer(
    found: Mapping[str, h5py.Dataset], name: str, path: str | pathlib.Path
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a layer, whose kernel PyTorch stores as [out, in]."""
    arrays = []
    for part, rank in (("weight", 2), ("bias", 1)):
        dataset = found[f"metadata/policy/{name}/{part}"]
        if dataset.ndim != rank or dataset.dtype.kind != "f":
            raise DatasetError(
                f"{path}: {part} of layer {name} of the policy is {dataset.dtype} of shape "
                f"{dataset.shape}, and a matrix and a vector of floats are needed: use another file"
            )
        with hdf5.reading(path):
            arrays.append(dataset[()].astype(dataset.dtype.newbyteorder("=")))
    return arrays[0].T, arrays[1]
