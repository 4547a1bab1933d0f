"""Measures collection against a plain single-process loop with the same environment and policy."""

from __future__ import annotations

import itertools
import pathlib
import tempfile
import time
from typing import Any

import numpy as np
import threadpoolctl

from rl_datasets.collection import collector, environments, policies

SIZES = {"HalfCheetah-v4": (17, 6), "Hopper-v4": (11, 3)}
PROCESSES = 2


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions per second of `collect` with two processes, and of the plain loop.

    Both run BRAC's `pure` mixture with a network of its size, in turns, within one call. Each rate
    is the median of its turns. That of `collect` includes starting the processes and writing the
    files.

    Args:
      quick: whether to collect fewer transitions, for a first look.

    Returns:
      One row for each environment: name, value (transitions/s), unit, anchor (transitions/s of the
      plain loop) and ratio (value / anchor).
    """
    transitions = 100_000 if quick else 200_000
    rows = []
    for environment, (observations, actions) in SIZES.items():
        layers = random_layers((observations, 200, 200, 2 * actions))
        plain, ours = [], []
        for seed in range(1 if quick else 3):
            plain.append(plain_loop(environment, layers, transitions // 10, seed))
            ours.append(collect(environment, layers, transitions, seed))
        value, anchor = float(np.median(ours)), float(np.median(plain))
        rows.append(
            {
                "name": f"collect {environment}, {PROCESSES} processes",
                "value": value,
                "unit": "transitions/s",
                "anchor": anchor,
                "ratio": value / anchor,
            }
        )
    return rows


def plain_loop(environment: str, layers: policies.Layers, transitions: int, seed: int) -> float:
    """Transitions per second of the most obvious loop, with one BLAS thread."""
    with threadpoolctl.threadpool_limits(1):
        env = environments.make_gymnasium(environment)
        rng = np.random.default_rng(seed)
        observation, _ = env.reset(seed=seed)
        data = []
        start = time.perf_counter()
        for _ in range(transitions):
            hidden = observation.astype(np.float32)
            for kernel, bias in layers[:-1]:
                hidden = np.maximum(hidden @ kernel + bias, 0)
            mean, raw = np.split(hidden @ layers[-1][0] + layers[-1][1], 2)
            std = np.exp(-5 + 2.5 * (np.tanh(raw) + 1))
            action = np.tanh(mean + std * rng.standard_normal(len(mean), np.float32))
            next_observation, reward, terminated, truncated, _ = env.step(action)
            data.append((observation, action, reward, next_observation, terminated))
            observation = next_observation
            if terminated or truncated:
                observation, _ = env.reset()
        return transitions / (time.perf_counter() - start)


def collect(
    environment: str,
    layers: policies.Layers,
    transitions: int,
    seed: int,
    processes: int = PROCESSES,
) -> float:
    """Transitions per second of `collect`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "policy.npz"
        policies.save_policy(path, layers, {"weights": "random"})
        start = time.perf_counter()
        collector.collect(
            environment,
            "pure",
            transitions,
            pathlib.Path(folder) / "collected",
            policy_path=path,
            seed=seed,
            processes=processes,
            show_progress=False,
        )
        return transitions / (time.perf_counter() - start)


def random_layers(sizes: tuple[int, ...]) -> policies.Layers:
    rng = np.random.default_rng(0)
    return [
        (
            rng.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32),
            np.zeros(outputs, np.float32),
        )
        for inputs, outputs in itertools.pairwise(sizes)
    ]


if __name__ == "__main__":
    for row in measure():
        print(row)
