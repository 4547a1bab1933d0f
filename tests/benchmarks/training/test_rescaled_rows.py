"""Rows whose learner meets rescaled rewards or normalised observations, and what is scored."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.training import runner
from benchmarks.training.cells import plan
from benchmarks.training.recipe import Recipe, load_recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import RETURN_RANGE, Row
from benchmarks.training.tasks import choice, control
from learners import bc, training
from learners.registry import LEARNERS
from learners.types import Learner, Spec
from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition
from tests.benchmarks import version_folders
from tests.benchmarks.changed_rows import changed

ROW = Row.of(
    "BC/data", "tiny/data:1.0.0", "Pendulum-v1", learner="bc", config={"hidden_sizes": [8]}
)
RECIPE = Recipe("Tiny", "tiny", "", (0,), 20, 4, 20, 1, (ROW,))

# Two trajectories, of 10 and 40 rewards of 2: their returns are 20 and 80.
DISCOUNT = np.ones(50, np.float32)
DISCOUNT[9] = 0.0
OBSERVATION = np.full((50, 3), 5.0, np.float32)
DATA = Transition(OBSERVATION, OBSERVATION[:, :1] * 0, DISCOUNT * 0 + 2, DISCOUNT, OBSERVATION, {})


def _noting(config: bc.Config, spec: Spec) -> Learner:
    """A learner that learns nothing, and tells what it meets; its action is what it observes."""

    def step(state, batch):
        means = {name: jnp.mean(getattr(batch, name)) for name in ("reward", "observation")}
        return state, means | {"next_observation": jnp.mean(batch.next_observation)}

    def act(state, observation):
        return observation[:, :1]

    return bc.make(config, spec)._replace(update=training.scan(step, spec), policies={"act": act})


NOTING = dataclasses.replace(LEARNERS["bc"], make=_noting)


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "_transitions", lambda *args, **cut: DATA)
    monkeypatch.setattr(Recipe, "entry", lambda self: NOTING)
    # In the place of an episode, the action at an observation as the environment would give it.
    monkeypatch.setattr(
        control, "evaluate", lambda env, act, *_: [float(act(OBSERVATION[:1] + 1)[0, 0])]
    )
    version_folders.write(tmp_path / "data" / ROW.data.version_path)
    return runner.Places(tmp_path / "data", tmp_path / "runs")


def last_line(places, **options):
    row = changed(ROW, **options)
    (cell,) = plan(dataclasses.replace(RECIPE, rows=(row,)))
    runner.run_cells([cell], places, lambda cell, step: None)
    return read_results(cell.folder(places.runs_dir) / RESULTS)[-1]


@pytest.mark.parametrize(
    ("options", "reward"),
    [
        ({}, 2.0),
        ({"reward_scale": 10.0, "reward_bias": -5.0}, 15.0),
        ({"reward_bias": -1.0}, 1.0),
        ({"reward_scale": RETURN_RANGE}, 2.0 * 1000 / (80 - 20)),
    ],
)
def test_the_learner_meets_rescaled_rewards(places, options, reward):
    line = last_line(places, **options)
    assert line["metrics"]["reward"] == pytest.approx(reward)
    assert {k: v for k, v in line.items() if k.startswith("reward_")} == options
    np.testing.assert_array_equal(DATA.reward, 2.0)  # the data in memory stay as they are


def test_the_learner_and_its_policy_meet_normalized_observations(places):
    line = last_line(places)
    assert (line["metrics"]["observation"], line["returns"]) == (5.0, [6.0])
    assert "normalize_observations" not in line
    line = last_line(places, normalize_observations=True, variant="normalized")
    assert line["metrics"]["observation"] == line["metrics"]["next_observation"] == 0.0
    assert line["returns"] == [pytest.approx(1 / 1e-3)]  # all data are 5, without a deviation
    assert line["normalize_observations"] is True


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"reward_scale": 10.0, "n_step": 3}, "rescales sums of 3 rewards"),
        ({"reward_bias": 1.0, "n_step": 3}, "rescales sums of 3 rewards"),
    ],
)
def test_what_cannot_be_rescaled_is_refused(options, named):
    with pytest.raises(DatasetError, match=named):
        changed(ROW, **options)


@pytest.mark.parametrize("options", [{"reward_scale": 2.0}, {"normalize_observations": True}])
def test_games_are_as_they_are_served(tmp_path, options):
    row = Row.of("DQN/Pong", "tiny/data:1.0.0", "Pong", learner="dqn", **options)
    (tmp_path / row.data.version_path).mkdir(parents=True)
    version_folders.write(tmp_path / row.data.version_path)
    with pytest.raises(DatasetError, match=r"'DQN/Pong' is of a game, .*leave out normalize_obs"):
        choice.task_of(dataclasses.replace(RECIPE, learner="dqn"), row, tmp_path)


def test_single_rows_of_an_algorithm_have_options_of_their_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        """
seeds = [0]
steps = 10
batch_size = 256
evaluate_every = 5
episodes = 1
[[algorithms]]
name = "IQL"
learner = "iql"
reward_bias = -1.0
row_of.easy = { reward_bias = 0.0, reward_scale = 100.0 }
[[rows]]
name = "easy"
dataset = "d4rl/easy:1.0.0"
environment = "Pendulum-v1"
[[rows]]
name = "hard"
dataset = "d4rl/hard:1.0.0"
environment = "Pendulum-v1"
"""
    )
    easy, hard = load_recipe(str(path)).rows
    assert (easy.data.reward_scale, easy.data.reward_bias) == (100.0, 0.0)
    assert (hard.data.reward_scale, hard.data.reward_bias) == (1.0, -1.0)
