"""Behaviour policies in NumPy: `policy(rng, observation [B, obs]) -> action [B, act]`, float32.

BRAC's policies (Wu, Tucker and Nachum 2019; `behavior_regularized_offline_rl` of google-research)
are a uniform policy, a tanh-Gaussian network, and either of them with two kinds of noise. D4RL's
(Fu et al. 2020) are the first two, with another bound on the network's standard deviation. Each
policy is a plain picklable value, so that worker processes need no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rl_datasets import errors, files, npz
from rl_datasets.sources import brac, d4rl_policy, tf_checkpoint

Policy = Callable[[np.random.Generator, np.ndarray], np.ndarray]
Layers = Sequence[tuple[np.ndarray, np.ndarray]]

# Noisy actions keep this distance from the bounds, where the tanh-Gaussian's density has poles.
BOUNDS_MARGIN = np.float32(1e-3)


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Actions that are uniform between `minimum` [act] and `maximum` [act]."""

    minimum: np.ndarray
    maximum: np.ndarray

    def __call__(self, rng: np.random.Generator, observation: np.ndarray) -> np.ndarray:
        shape = (len(observation), *self.minimum.shape)
        uniform = rng.random(shape, np.float32)
        action = self.minimum + (self.maximum - self.minimum) * uniform
        return np.clip(action, self.minimum, self.maximum)


def log_std_of_brac(raw: np.ndarray) -> np.ndarray:
    """The log standard deviation of BRAC's actors: the raw output, squashed by tanh to [-5, 0]."""
    return -5.0 + 0.5 * 5.0 * (np.tanh(raw) + 1)


def log_std_of_rlkit(raw: np.ndarray) -> np.ndarray:
    """The log standard deviation of rlkit's actors, as D4RL used them: clipped to [-20, 2]."""
    return np.clip(raw, -20, 2)


@dataclasses.dataclass(frozen=True)
class TanhGaussian:
    """A SAC actor: a ReLU network, its Gaussian squashed by tanh into the bounds of the action.

    The last layer's output is (mean, raw); the action is tanh(mean + exp(log_std(raw)) * noise),
    stretched to the bounds.

    Attributes:
      layers: (kernel [in, out], bias [out]) of each layer, float32.
      minimum: [act] float32, lower bound of the action.
      maximum: [act] float32, upper bound of the action.
      mode: whether to take tanh(mean) instead of a sample.
      log_std: the log standard deviation as a function of the raw output.
    """

    layers: Layers
    minimum: np.ndarray
    maximum: np.ndarray
    mode: bool = False
    log_std: Callable[[np.ndarray], np.ndarray] = log_std_of_brac

    def __call__(self, rng: np.random.Generator, observation: np.ndarray) -> np.ndarray:
        hidden = observation
        for kernel, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ kernel + bias, 0)
        kernel, bias = self.layers[-1]
        output = hidden @ kernel + bias
        mean, raw = output[:, : len(self.minimum)], output[:, len(self.minimum) :]
        if not self.mode:
            std = np.exp(self.log_std(raw))
            mean = mean + std * rng.standard_normal(mean.shape, np.float32)
        magnitude, centre = (self.maximum - self.minimum) / 2, (self.maximum + self.minimum) / 2
        return np.clip(np.tanh(mean) * magnitude + centre, self.minimum, self.maximum)


@dataclasses.dataclass(frozen=True)
class GaussianNoise:
    """Adds N(0, sigma^2) to every action of `policy`, then clips 1e-3 inside the bounds."""

    policy: Policy
    sigma: float
    minimum: np.ndarray
    maximum: np.ndarray

    def __call__(self, rng: np.random.Generator, observation: np.ndarray) -> np.ndarray:
        action = self.policy(rng, observation)
        noise = np.float32(self.sigma) * rng.standard_normal(action.shape, np.float32)
        return np.clip(action + noise, self.minimum + BOUNDS_MARGIN, self.maximum - BOUNDS_MARGIN)


@dataclasses.dataclass(frozen=True)
class EpsilonNoise:
    """In each step, with probability `epsilon`, a uniform action instead of that of `policy`."""

    policy: Policy
    epsilon: float
    minimum: np.ndarray
    maximum: np.ndarray

    def __call__(self, rng: np.random.Generator, observation: np.ndarray) -> np.ndarray:
        action = self.policy(rng, observation)
        uniform = Uniform(self.minimum, self.maximum)(rng, observation)
        replaced = rng.random(len(observation)) < self.epsilon
        return np.where(replaced[:, None], uniform, action)


def with_noise(
    policy: Policy, sigma: float, epsilon: float, minimum: np.ndarray, maximum: np.ndarray
) -> Policy:
    """Adds BRAC's noise: `gaussian` if sigma > 0, `eps` if epsilon > 0, `gaussianeps` if both."""
    if sigma > 0:
        policy = GaussianNoise(policy, sigma, minimum, maximum)
    if epsilon > 0:
        policy = EpsilonNoise(policy, epsilon, minimum, maximum)
    return policy


@dataclasses.dataclass(frozen=True)
class PolicySource:
    """A tanh-Gaussian policy that was read from files.

    Attributes:
      layers: (kernel [in, out], bias [out]) of each layer, float32.
      kind: `sac` for a `.npz` that `train-policy` wrote, `by` for any other file.
      files: (file name, sha256) of every file that was read.
      log_std: the log standard deviation as a function of the last layer's raw output.
    """

    layers: Layers
    kind: str
    files: tuple[tuple[str, str], ...]
    log_std: Callable[[np.ndarray], np.ndarray] = log_std_of_brac

    @property
    def weights_sha256(self) -> str:
        """The sha256 of the layers' shapes and bytes, which does not depend on the file."""
        digest = hashlib.sha256()
        for array in itertools.chain.from_iterable(self.layers):
            digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def for_observations(self, environment: str, size: int) -> PolicySource:
        """The same policy for Ant's observations, which have 84 more zeros in v2 than in v4."""
        (kernel, bias), *rest = self.layers
        known = len(kernel)
        if not environment.startswith("Ant-") or {known, size} != {27, 111}:
            return self
        fitted = np.zeros((size, kernel.shape[1]), kernel.dtype)
        fitted[: min(known, size)] = kernel[: min(known, size)]
        return dataclasses.replace(self, layers=[(fitted, bias), *rest])


def load_policy(path: str | pathlib.Path) -> PolicySource:
    """Reads a policy.

    Args:
      path: the prefix of a BRAC checkpoint, a `.npz` that `save_policy` wrote, or a `.hdf5` file of
        D4RL's, which holds the policy that collected it.

    Raises:
      DatasetError: there is no such file, or it is damaged or holds no policy.
    """
    path = pathlib.Path(path)
    if path.suffix in (".hdf5", ".npz") and not path.is_file():
        raise errors.DatasetError(f"there is no policy {path}: give the path of one")
    if path.suffix == ".hdf5":
        layers = d4rl_policy.read_policy(path)
        return PolicySource(layers, "by", _hashed([path]), log_std_of_rlkit)
    if path.suffix != ".npz":
        prefix = str(path).removesuffix(".index")
        layers = brac.read_policy(prefix)
        return PolicySource(layers, "by", _hashed(tf_checkpoint.checkpoint_files(prefix)))
    arrays = npz.read_arrays(
        path, "give the .npz that `rl-datasets train-policy` wrote, or another policy's file"
    )
    try:
        layers = [
            (arrays[f"kernel_{i}"], arrays[f"bias_{i}"]) for i in range(max(1, len(arrays) // 2))
        ]
    except KeyError as error:
        raise errors.DatasetError(
            f"{path} has no array {error}: a policy holds kernel_0, bias_0, kernel_1, ..."
        ) from error
    brac.check_layers(layers, str(path))
    return PolicySource(layers, "sac", _hashed([path, path.with_suffix(".json")]))


def save_policy(path: str | pathlib.Path, layers: Layers, lineage: Mapping[str, Any]) -> None:
    """Writes a policy that `load_policy` reads, and its lineage beside it as JSON.

    Args:
      path: ends in `.npz`; the lineage goes into a file of the same name with `.json`.
      layers: (kernel [in, out], bias [out]) of each layer, float32.
      lineage: the policy's origin: seed, steps, returns, code version.
    """
    path = pathlib.Path(path)
    arrays = {}
    for i, (kernel, bias) in enumerate(layers):
        arrays[f"kernel_{i}"], arrays[f"bias_{i}"] = np.asarray(kernel), np.asarray(bias)
    text = json.dumps(lineage, indent=2, sort_keys=True) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path.with_suffix(".json"), text)
    npz.write_arrays(path, arrays)


def partial_policy_path(environment: str) -> pathlib.Path:
    """The path of the project's own partially trained policy for `environment`."""
    name = environment.split("-v")[0]
    return pathlib.Path(__file__).parent / "partial_policies" / f"{name}.npz"


def _hashed(paths: Sequence[pathlib.Path]) -> tuple[tuple[str, str], ...]:
    return tuple((path.name, files.sha256_of(path)) for path in paths if path.is_file())
