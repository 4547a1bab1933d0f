"""Draws the bodies of an episode with MuJoCo's offscreen renderer.

The renderer runs in a process of its own, because its driver is chosen when MuJoCo is imported, and
may crash. Ants, cheetahs, hoppers and walkers are drawn: their observations are the state without
the body's position, which follows from its velocity (`collection.which_body`).
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError

DRIVERS = ("egl", "osmesa")  # As MUJOCO_GL names them.
HEIGHT, WIDTH = 180, 240
_SECONDS = 120
_ENVIRONMENT = re.compile(r"(\w+)-v\d+")


def render(episode: Episode, environment: str | None, count: int) -> tuple[np.ndarray, list[int]]:
    """Frames of an episode, as evenly spaced as its steps allow.

    Args:
      episode: an episode with observations [T + 1, observation].
      environment: where it was collected, such as `Hopper-v2`; None where that is not known.
      count: the most frames.

    Returns:
      Frames [N, HEIGHT, WIDTH, 3] uint8, and the numbers of their steps.

    Raises:
      DatasetError: its bodies are not known, or this machine cannot draw them; the message says
        why, and nothing needs to be done.
    """
    from rl_datasets.collection import which_body  # Brings MuJoCo.

    named = _ENVIRONMENT.fullmatch(environment or "")  # Gymnasium would import what others name.
    layout = which_body.LAYOUTS.get(named[1]) if named else None
    shape = np.shape(episode.one_observation)[1:]
    if layout is None or shape not in [(size,) for size in layout.observations]:
        raise DatasetError(
            f"the bodies of {environment or 'its environment'} are not among those that can be "
            f"drawn, {', '.join(which_body.LAYOUTS)}"
        )
    observation = np.asarray(episode.one_observation, np.float64)
    is_final_known = observation[-1].any()  # Readers put zeros in the place of one that is not.
    known = observation[: len(observation) - (not is_final_known), : layout.observed]
    steps = np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int)
    qpos = np.pad(known[:, : -layout.nv], [(0, 0), (layout.unseen, 0)])
    velocity = known[:, -layout.nv :][:, : layout.unseen]
    return _in_a_process(str(environment), qpos, velocity, steps), steps.tolist()


def _in_a_process(
    environment: str, qpos: np.ndarray, velocity: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    reasons = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        np.savez(folder / "states.npz", qpos=qpos, velocity=velocity, steps=steps)
        command = [sys.executable, "-m", __name__, environment, scratch]
        for driver in [os.environ["MUJOCO_GL"]] if "MUJOCO_GL" in os.environ else DRIVERS:
            try:
                done = subprocess.run(
                    command,
                    env={**os.environ, "MUJOCO_GL": driver},
                    capture_output=True,
                    text=True,
                    timeout=_SECONDS,
                )
            except subprocess.TimeoutExpired:
                reasons.append(f"{driver}: it took more than {_SECONDS} seconds")
                continue
            if (folder / "frames.npy").is_file():
                return np.load(folder / "frames.npy", allow_pickle=False)
            last = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
            reasons.append(f"{driver}: {last}")
    raise DatasetError(f"this machine cannot draw MuJoCo's bodies ({'; '.join(reasons)})")


def _draw(environment: str, folder: pathlib.Path) -> None:
    """Draws `states.npz` of a folder to its `frames.npy`."""
    import mujoco

    from rl_datasets.collection import environments

    with np.load(folder / "states.npz", allow_pickle=False) as states:
        qpos, velocity, steps = (states[name] for name in ("qpos", "velocity", "steps"))
    body: Any = environments.make_gymnasium(environment).unwrapped
    travelled = np.cumsum(velocity, axis=0) * body.dt
    qpos[:, : velocity.shape[1]] = travelled - travelled[:1]
    cameras = [body.model.camera(index).name for index in range(body.model.ncam)]
    frames = np.empty((len(steps), HEIGHT, WIDTH, 3), np.uint8)
    with mujoco.Renderer(body.model, HEIGHT, WIDTH) as renderer:
        for place, step in enumerate(steps):
            body.data.qpos[:] = qpos[step]
            mujoco.mj_forward(body.model, body.data)
            renderer.update_scene(body.data, camera="track" if "track" in cameras else -1)
            frames[place] = renderer.render()
    np.save(folder / "partial.npy", frames)
    os.replace(folder / "partial.npy", folder / "frames.npy")


if __name__ == "__main__":
    _draw(sys.argv[1], pathlib.Path(sys.argv[2]))
