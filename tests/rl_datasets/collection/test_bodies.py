"""Gym's v2 bodies beside what MuJoCo 2.1.0 itself makes of them.

`mujoco_210.npz` has its inertials, and one step from each of 72 states; `mujoco_210.py` made it.
"""

import pathlib

import gymnasium
import mujoco
import numpy as np
import pytest

from rl_datasets import errors
from rl_datasets.collection import bodies, environments, which_body

FIXTURE = np.load(pathlib.Path(__file__).with_name("mujoco_210.npz"))
IN_CONTACT = ("Ant-v2", "Hopper-v2")  # whose geoms have a margin


def old(name, field):
    return FIXTURE[f"{name}/{field}"]


def errors_of_one_step(environment, name):
    """[72] the largest error of a velocity, beside 2.1.0's of the v2 body `name`."""
    env = environments.make_gymnasium(environment)
    found = []
    for i, action in enumerate(old(name, "action")):
        which_body.step(env, old(name, "qpos")[i], old(name, "qvel")[i], action)
        found.append(np.abs(env.unwrapped.data.qvel - old(name, "next_qvel")[i]).max())
    return np.array(found)


@pytest.mark.parametrize("name", bodies.ENVIRONMENTS)
@pytest.mark.parametrize("field", ["body_mass", "body_inertia", "body_ipos", "body_iquat"])
def test_inertials_are_those_of_mujoco_210(name, field):
    model = environments.make_gymnasium(name).unwrapped.model
    np.testing.assert_allclose(getattr(model, field), old(name, field), rtol=0, atol=1e-15)


# The masses that Hopper and Walker2d had on MuJoCo 2.1.0; HalfCheetah's file sets its total.
@pytest.mark.parametrize(
    ("task", "mass", "of_v4"),
    [
        ("Ant", 0.8787, 0.9109),
        ("HalfCheetah", 14, 14),
        ("Hopper", 15.26, 15.82),
        ("Walker2d", 22.70, 23.68),
    ],
)
def test_total_masses(task, mass, of_v4):
    v2, v4 = (
        environments.make_gymnasium(f"{task}-{version}").unwrapped.model.body_mass.sum()
        for version in ("v2", "v4")
    )
    assert v2 == pytest.approx(mass, rel=4e-4)
    assert v4 == pytest.approx(of_v4, rel=4e-4)


@pytest.mark.parametrize("name", bodies.ENVIRONMENTS)
def test_one_step_is_that_of_mujoco_210(name):
    error = errors_of_one_step(name, name)
    assert np.count_nonzero(old(name, "contacts")) >= 20
    assert np.percentile(error, 90) < 1e-11
    assert error.max() < 1e-5


@pytest.mark.parametrize("name", bodies.ENVIRONMENTS)
def test_one_step_of_v4_is_another(name):
    error = errors_of_one_step(name.replace("v2", "v4"), name)
    assert np.median(error) > 1e-3
    assert np.percentile(error, 90) > 1e-2


@pytest.mark.parametrize("name", bodies.ENVIRONMENTS)
def test_contacts_need_the_old_margins(name, monkeypatch):
    monkeypatch.setattr(bodies, "MARGINS_ADD_UP", (99, 0))
    error, in_contact = errors_of_one_step(name, name), old(name, "contacts") > 0
    if name in IN_CONTACT:
        assert np.median(error[in_contact]) > 1e-3
    else:
        assert error[in_contact].max() < 1e-5
    assert np.median(error[~in_contact]) < 1e-11  # With greater margins a few are in contact.


@pytest.mark.parametrize("version", ["3.3.0", "3.4.0", "3.17.0"])
def test_mujocos_on_which_the_bodies_are_exact(version):
    bodies.check_mujoco(version)


@pytest.mark.parametrize("version", ["2.3.7", "3.2.7", "4.0.0"])
@pytest.mark.parametrize("name", bodies.ENVIRONMENTS)
def test_other_mujocos_are_refused(name, version, monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", version)
    with pytest.raises(errors.DatasetError, match=f"{version} is installed: install one of these"):
        environments.make_gymnasium(name)


def test_gymnasium_finds_them_by_the_module():
    made = gymnasium.make("rl_datasets.collection.bodies:Hopper-v2")
    assert isinstance(made.unwrapped, bodies.HopperEnv)
