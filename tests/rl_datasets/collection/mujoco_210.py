"""`python -m tests.rl_datasets.collection.mujoco_210 WHEEL` writes `mujoco_210.npz`.

It holds what MuJoCo 2.1.0, the last that gym's v2 ran on, makes of the four bodies: their
inertials, and one step from each of 72 states on the way of random actions. No part of this project
computes any of it; the models are gymnasium's files, which are gym's. The library comes from a
wheel that is not installed, because its Python needs an older interpreter:

    pip download free-mujoco-py==2.1.6 --no-deps --ignore-requires-python

It needs a C compiler and an x86-64 Linux. `test_bodies.py` holds the project's bodies to it.
"""

import pathlib
import subprocess
import sys
import tempfile
import zipfile
from typing import NamedTuple

import numpy as np
from gymnasium.envs import mujoco as gymnasium_mujoco

FOLDER = pathlib.Path(__file__).parent
ASSETS = pathlib.Path(gymnasium_mujoco.__file__).parent / "assets"
LIBRARY = "mujoco_py/binaries/linux/mujoco210/"


class Body(NamedTuple):
    file: str
    frame_skip: int  # of a step of gym's
    start: list[float]  # qpos, where gym's episodes begin, up to noise
    nv: int
    nu: int


BODIES = {
    "Ant-v2": Body("ant.xml", 5, [0, 0, 0.75, 1, *[0] * 11], 14, 8),
    "HalfCheetah-v2": Body("half_cheetah.xml", 5, [0] * 9, 9, 6),
    "Hopper-v2": Body("hopper.xml", 4, [0, 1.25, *[0] * 4], 6, 3),
    "Walker2d-v2": Body("walker2d.xml", 4, [0, 1.25, *[0] * 7], 9, 6),
}
INERTIALS = (("body_mass", 1), ("body_inertia", 3), ("body_ipos", 3), ("body_iquat", 4))
STATES = 72
HELD = 5  # steps that an action is held, so that the bodies move far


def compiled(wheel, folder):
    """The program of `mujoco_210.c`."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [n for n in archive.namelist() if n.startswith(LIBRARY)])
    library, program = folder / LIBRARY, folder / "program"
    shared = library / "bin"
    paths = [f"-I{library / 'include'}", f"-L{shared}", f"-Wl,-rpath,{shared}"]
    source = FOLDER / "mujoco_210.c"
    subprocess.run(["cc", "-O2", source, *paths, "-lmujoco210nogl", "-o", program], check=True)
    return program


def step(program, body, states):
    """One step of `states` [N, nq + nv + nu].

    Returns:
      The inertials by name, the contacts on the way [N], and what followed [N, nq + nv].
    """
    command = [program, ASSETS / body.file, str(len(states)), str(body.frame_skip)]
    result = subprocess.run(command, input=states.tobytes(), stdout=subprocess.PIPE, check=True)
    (bodies,), rest = np.split(np.frombuffer(result.stdout), [1])
    inertials = {}
    for name, width in INERTIALS:
        values, rest = np.split(rest, [int(bodies) * width])
        inertials[name] = values.reshape(int(bodies), width).squeeze()
    contacts, followed = np.split(rest.reshape(len(states), -1), [1], axis=1)
    return inertials, contacts[:, 0], followed


def rolled_out(program, name):
    """States on the way of episodes of random actions, the i-th after i steps."""
    body, rng = BODIES[name], np.random.default_rng(0)
    nq = len(body.start)
    moving = np.append(body.start, np.zeros(body.nv)) + rng.normal(0, 0.005, (STATES, nq + body.nv))
    kept = []
    for i in range(STATES):
        if i % HELD == 0:
            action = rng.uniform(-1, 1, (STATES, body.nu)).astype(np.float32)
        states = np.concatenate([moving, action], axis=1)
        inertials, contacts, followed = step(program, body, states)
        kept.append((moving[i], action[i], contacts[i], followed[i]))
        moving = followed
    before, action, contacts, after = (np.array(each) for each in zip(*kept, strict=True))
    (qpos, qvel), (next_qpos, next_qvel) = (np.split(s, [nq], axis=1) for s in (before, after))
    return inertials | {
        "qpos": qpos,
        "qvel": qvel,
        "action": action,
        "contacts": contacts.astype(np.int8),
        "next_qpos": next_qpos,
        "next_qvel": next_qvel,
    }


def main(wheel):
    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(wheel, pathlib.Path(folder))
        for name in BODIES:
            made = rolled_out(program, name)
            arrays |= {f"{name}/{field}": array for field, array in made.items()}
    np.savez_compressed(FOLDER / "mujoco_210.npz", **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
