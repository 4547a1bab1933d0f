"""Ant-v2, HalfCheetah-v2, Hopper-v2 and Walker2d-v2: the bodies of gym's v2 on a current MuJoCo.

The tables of BRAC, D4RL and most later work were measured with mujoco-py, and so on MuJoCo 2.1.0 or
older. Gymnasium's `-v4` and `-v5` tasks load the same files on a later MuJoCo, which makes
different bodies of them:

    inertia    up to 2.1.0, a capsule had the mass and inertia of a cylinder of the same radius,
               lengthened by half a radius at each end; later versions use a capsule's own
    contact    since 3.5.0, a contact's margin is the sum of both geoms' margins, not the larger of
               the two; in these files both geoms of a pair have the same margin

Undoing both changes restores what 2.1.0 computed: the inertias to 4e-16, and one step up to
rounding. `docs/bodies.md` has the evidence and what it means for scores. Gymnasium's v4 code
differs from gym's v2 in one more place: Ant-v2 observed 84 contact forces, which its MuJoCo gave as
zero.

Importing this module registers the four with gymnasium, in place of entries that only say that
mujoco-py is gone: `gymnasium.make("rl_datasets.collection.bodies:Hopper-v2")`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco import ant_v4, half_cheetah_v4, hopper_v4, mujoco_env, walker2d_v4

from rl_datasets import errors

ANT_CONTACT_FORCES = 84

# On 4.0 Ant's contacts differ. Versions before 3.3 were not tried.
FIRST_EXACT, FIRST_INEXACT = (3, 3), (4, 0)
MARGINS_ADD_UP = (3, 5)


class _V2Body(mujoco_env.MujocoEnv):
    """Gives gymnasium's v4 task the body of gym's v2.

    Raises:
      DatasetError: the bodies are not exact on the installed MuJoCo.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        check_mujoco(mujoco.__version__)
        super().__init__(*args, **kwargs)
        restore(self.model, self.data, self.fullpath)


class HalfCheetahEnv(_V2Body, half_cheetah_v4.HalfCheetahEnv):
    """HalfCheetah-v2: observations [17], actions [6] in [-1, 1]."""


class HopperEnv(_V2Body, hopper_v4.HopperEnv):
    """Hopper-v2: observations [11], actions [3] in [-1, 1]."""


class Walker2dEnv(_V2Body, walker2d_v4.Walker2dEnv):
    """Walker2d-v2: observations [17], actions [6] in [-1, 1]."""


class AntEnv(_V2Body, ant_v4.AntEnv):
    """Ant-v2: observations [111], of which the last 84 are zero, actions [8] in [-1, 1]."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (111,), np.float64)

    def _get_obs(self) -> np.ndarray:
        return np.append(super()._get_obs(), np.zeros(ANT_CONTACT_FORCES))


ENVIRONMENTS = {
    "Ant-v2": AntEnv,
    "HalfCheetah-v2": HalfCheetahEnv,
    "Hopper-v2": HopperEnv,
    "Walker2d-v2": Walker2dEnv,
}


def restore(model: mujoco.MjModel, data: mujoco.MjData, path: str) -> None:
    """Changes a model of the XML file at `path` to the body that MuJoCo 2.1.0 made of it."""
    old = _with_lengthened_cylinders(path)
    for inertial in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
        getattr(model, inertial)[:] = getattr(old, inertial)
    mujoco.mj_setConst(model, data)
    if _version(mujoco.__version__) >= MARGINS_ADD_UP:
        model.geom_margin[:] /= 2


def _with_lengthened_cylinders(path: str) -> mujoco.MjModel:
    """The model with cylinders in place of capsules, which have 2.1.0's inertias of capsules."""
    spec = mujoco.MjSpec.from_file(path)
    for geom in spec.geoms:
        if geom.type != mujoco.mjtGeom.mjGEOM_CAPSULE:
            continue
        geom.type = mujoco.mjtGeom.mjGEOM_CYLINDER
        half_radius = geom.size[0] / 2
        ends = np.array(geom.fromto)
        if np.isnan(ends).any():
            geom.size[1] += half_radius
            continue
        along = ends[3:] - ends[:3]
        along *= half_radius / np.linalg.norm(along)
        geom.fromto = np.concatenate([ends[:3] - along, ends[3:] + along])
    return spec.compile()


def check_mujoco(version: str) -> None:
    """Raises `DatasetError` unless the bodies are exact on this version of MuJoCo."""
    if not FIRST_EXACT <= _version(version) < FIRST_INEXACT:
        raise errors.DatasetError(
            f"gym's v2 bodies are exact on MuJoCo 3.3 to 3.17, and {version} is installed: "
            "install one of these, such as `pip install 'mujoco>=3.3,<4'`"
        )


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


for _name, _environment in ENVIRONMENTS.items():
    gymnasium.registry.pop(_name, None)  # Gymnasium's own entry can only fail.
    gymnasium.register(_name, entry_point=_environment, max_episode_steps=1000)
