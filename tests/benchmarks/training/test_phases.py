"""Runs that continue in their game after the data: what is carried over, and what repeats."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks.training import online_phase, runner
from benchmarks.training.cells import plan
from benchmarks.training.online import atari as online_atari
from benchmarks.training.online_options import OnlineOptions, distillation_weight
from benchmarks.training.preparation import Places, check
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.teacher import Teacher
from benchmarks.training.teaching import IMPORTANCE, VALUES, as_teacher, with_teacher
from learners import discrete_cql, distillation, dqn, qdagger_rainbow, qr_dqn, types
from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.training.conftest import use_quick_learners
from tests.benchmarks.training.game_runs import INVADERS, PONG, RECIPE, measured, publish_run, run
from tests.benchmarks.training.test_online_atari import SMALL, small_network

pytestmark = pytest.mark.usefixtures("quick_learners")

ONLINE = {
    "iterations": 2,
    "steps_per_iteration": 30,
    "buffer_rows": 200,
    "min_replay": 10,
    "epsilon_decay_steps": 40,
}
RECIPE = dataclasses.replace(RECIPE, steps=8, online=ONLINE)


def continued(row=PONG, **online):
    """The recipe with a row that continues online."""
    return dataclasses.replace(RECIPE, rows=(changed(row, online=online),))


@pytest.fixture(scope="module")
def uncut(data_dir, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_quick_learners(monkeypatch)
        return run(data_dir, tmp_path_factory.mktemp("uncut"), continued())


def test_steps_count_gradient_steps_and_then_agent_steps(uncut):
    assert [line["step"] for line in uncut] == [4, 8, 38, 68]
    assert [line["steps"] for line in uncut] == [68] * 4
    assert [line["metrics"].get("agent_steps") for line in uncut[:2]] == [None, None]
    played = [line["metrics"]["agent_steps"] for line in uncut[2:]]
    assert 30 <= played[0] < 50 <= 60 <= played[1] < 100  # whole episodes of at most 20 steps


@pytest.mark.parametrize("cut_at", [8, 38, 68])
@pytest.mark.parametrize(
    "online", [{}, {"teacher_share": 0.5}, {"n_step": 3, "keeps_optimizer": False}]
)
def test_a_cut_run_continues_bit_for_bit(data_dir, tmp_path, uncut, online, cut_at):
    class Cut(Exception):
        pass

    def progress(cell, step):
        if step >= cut_at:
            raise Cut

    recipe = continued(**online)
    expected = run(data_dir, tmp_path / "uncut", recipe) if online else uncut
    with pytest.raises(Cut):
        run(data_dir, tmp_path / "cut", recipe, progress=progress)
    assert measured(run(data_dir, tmp_path / "cut", recipe)) == measured(expected)


def test_a_run_may_have_no_offline_phase(data_dir, tmp_path):
    lines = run(data_dir, tmp_path, continued(skips_offline=True))
    assert [line["step"] for line in lines] == [30, 60]


def test_a_smaller_budget_has_less_of_each_phase(data_dir, tmp_path):
    recipe = dataclasses.replace(continued(iterations=4), steps=16)
    (cell,) = plan(recipe, seeds=[0], budget=0.5)
    assert cell.evaluations == [4, 8, 38, 68]


def test_a_larger_budget_is_another_run(data_dir, tmp_path):
    recipe = dataclasses.replace(continued(), steps=8)
    small = plan(recipe, seeds=[0], budget=0.5)
    runner.run_cells(small, Places(data_dir, tmp_path), lambda *_: None)
    assert [line["step"] for line in run(data_dir, tmp_path, recipe)] == [4, 8, 38, 68]


def test_seeds_that_play_are_not_trained_at_once(data_dir, tmp_path):
    with pytest.raises(DatasetError, match="each seed of row 'Pong' plays games of its own"):
        run(data_dir, tmp_path, continued(), seeds=(0, 1), seeds_at_once=2)


def entered(data_dir, tmp_path, **online):
    """A state, and what the online phase of a row begins with."""
    recipe = continued(**online)
    (cell,) = plan(recipe, seeds=[0])
    places = Places(data_dir, tmp_path)
    task = runner.tasks_of([cell], places)[cell]
    *_, phase = runner._phases([cell], task, places, task.spec(), None, lambda *_: None)
    state = phase.learner.init(jax.random.PRNGKey(3))
    state = state._replace(
        target_params=jax.tree.map(jax.numpy.zeros_like, state.params),
        optimizer_state=jax.tree.map(lambda x: x + 7, state.optimizer_state),
        steps=state.steps + 5,
    )
    return state, phase.enter(state)


@pytest.mark.parametrize("keeps", [True, False])
def test_the_switch_carries_over_what_the_authors_code_does(data_dir, tmp_path, keeps):
    before, after = entered(data_dir, tmp_path, keeps_optimizer=keeps)
    for x, y in zip(
        jax.tree.leaves(after.target_params), jax.tree.leaves(before.params), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    assert int(after.steps) == 5
    same = [
        np.array_equal(x, y)
        for x, y in zip(
            jax.tree.leaves(after.optimizer_state),
            jax.tree.leaves(before.optimizer_state),
            strict=True,
        )
    ]
    assert all(same) if keeps else not any(same)


def test_exploration_counts_the_offline_steps():
    options = OnlineOptions()
    assert options.epsilon_at(1_000_001) == 0.01
    assert options.epsilon_at(25_000) == pytest.approx(0.01 + 0.99 / 2)


@pytest.mark.parametrize(
    ("rule", "before", "score", "expected"),
    [
        ("latched", 1.0, -20.7, 1.0),  # a random policy's score
        ("latched", 1.0, 0.0, 1 - 20.7 / 40.7),  # halfway or so to the teacher's 20
        ("latched", 0.3, 21.0, 0.0),
        ("latched", 0.0, -21.0, 0.0),  # it stays 0
        ("latched", 1.0, -21.0, 1 + 0.3 / 40.7),  # worse than at random
        ("paper", 0.0, 5.0, 0.75),
        ("paper", 1.0, -20.0, 2.0),
        ("constant", 1.0, 21.0, 1.0),
    ],
)
def test_the_weight_of_the_distillation(rule, before, score, expected):
    assert distillation_weight(rule, before, score, 20.0, -20.7) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("online", "message"),
    [
        ({"iteration": 2}, "online of row 'Pong' has no field 'iteration': did you mean 'iter"),
        ({"min_replay": 200}, "min_replay must be below buffer_rows, 200, got 200"),
        ({"starts_as_teacher": True}, "starts_as_teacher goes with skips_offline alone"),
        ({"prioritizes": True, "teacher_share": 0.1}, "prioritizes and teacher_share do not go"),
        ({"guide": {"horizons": 3}}, "guide has no field 'horizons': did you mean 'horizon'"),
        ({"learner": "c52"}, "learner is 'c52', which is no learner"),
    ],
)
def test_options_that_cannot_be_are_refused_by_the_plan(online, message):
    with pytest.raises(DatasetError, match=message):
        plan(continued(**online), seeds=[0])


@pytest.mark.parametrize(
    ("online", "message"),
    [
        ({"learner": "qr_dqn"}, "carries over the state of dqn, which qr_dqn cannot continue from"),
        ({"guide": {}}, "row 'Pong' needs a teacher: name one, such as Pong/1"),
        ({"learner": "td3_bc", "keeps_optimizer": False}, "learner td3_bc is made for a Spec"),
    ],
)
def test_a_phase_that_could_not_run_is_refused_before_training(data_dir, tmp_path, online, message):
    with pytest.raises(DatasetError, match=message):
        check(plan(continued(**online), seeds=[0]), Places(data_dir, tmp_path))


def test_lost_actions_are_refused(data_dir, tmp_path):
    def progress(cell, step):
        if step >= 68:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(data_dir, tmp_path, continued(), progress=progress)
    (folder,) = tmp_path.rglob(online_phase.PLAYED)
    (folder / "actions-00000.npz").unlink()
    with pytest.raises(DatasetError, match=r"actions-00000\.npz"):
        run(data_dir, tmp_path, continued())


def test_a_line_says_how_the_run_continues(data_dir, uncut):
    assert uncut[-1]["online"]["min_replay"] == 10
    assert json.loads(json.dumps(uncut[-1]["online"])) == uncut[-1]["online"]


# -- Students of a teacher


@pytest.fixture(scope="module")
def taught_data(tmp_path_factory):
    """A teacher's run and its published log: the folder of data, and that of teachers."""
    folder = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_quick_learners(monkeypatch)
        home = online_atari.log_run("Pong", folder / "teachers", agent="dqn", schedule=SMALL)
    publish_run(str(home), folder / "data")
    return folder / "data", folder / "teachers"


@pytest.fixture
def quick_students(monkeypatch):
    for module in (distillation, discrete_cql, qdagger_rainbow):
        monkeypatch.setattr(module, "styled", small_network)


def student(learner, config=None, n_step=1, /, **online):
    row = changed(
        PONG, learner=learner, config=config or {}, n_step=n_step, teacher="Pong/1", online=online
    )
    return dataclasses.replace(RECIPE, rows=(row,))


def run_student(taught_data, runs_dir, recipe, progress=lambda *_: None):
    data_dir, teachers_dir = taught_data
    cells = plan(recipe, seeds=[0])
    places = Places(data_dir, runs_dir, teachers_dir=teachers_dir)
    check(cells, places)
    runner.run_cells(cells, places, progress)
    return read_results(cells[0].folder(runs_dir) / RESULTS)


STUDENTS = {
    "QDagger": student("qdagger_dqn", {}, 3),
    "Kickstarting": student("qdagger_dqn", {}, 3, skips_offline=True),
    "DQfD": student("dqfd"),
    "Pretraining": student(
        "discrete_cql",
        {"num_quantiles": None, "temperature": 0.1, "network": "dopamine"},
        learner="dqn",
        keeps_optimizer=False,
    ),
    "Rehearsal": student("dqn", skips_offline=True, teacher_share=0.5),
    "JSRL": student("dqn", skips_offline=True, guide={"horizon": 5, "share_steps": 50}),
    "Fine-tuning": student("dqn", skips_offline=True, starts_as_teacher=True),
    "Rainbow": student("qdagger_rainbow", {"network": "dopamine"}, 3, prioritizes=True),
}


@pytest.mark.usefixtures("quick_students")
@pytest.mark.parametrize("name", STUDENTS)
def test_each_student_learns_from_its_teacher_and_continues_bit_for_bit(
    taught_data, tmp_path, name
):
    class Cut(Exception):
        pass

    recipe = STUDENTS[name]
    (cell,) = plan(recipe, seeds=[0])

    def progress(cell, step):
        if step >= cell.steps:
            raise Cut

    expected = run_student(taught_data, tmp_path / "uncut", recipe)
    assert [line["step"] for line in expected] == cell.evaluations
    assert np.isfinite(expected[-1]["metrics"]["loss"])
    assert expected[-1]["teacher"]["learner"] == "dqn"
    with pytest.raises(Cut):
        run_student(taught_data, tmp_path / "cut", recipe, progress)
    assert measured(run_student(taught_data, tmp_path / "cut", recipe)) == measured(expected)


@pytest.mark.usefixtures("quick_students")
def test_the_weight_falls_after_the_first_online_iteration(taught_data, tmp_path):
    """It is 1 within that iteration, and 0 after the one that passes `weight_steps`."""
    recipe = student("qdagger_dqn", weight_rule="constant", weight_steps=31, iterations=3)
    *_, first, second, third = run_student(taught_data, tmp_path, recipe)
    assert first["metrics"]["agent_steps"] > 31
    weights = [line["metrics"]["distillation_weight"] for line in (first, second, third)]
    assert weights == [1, 0, 0]
    assert first["metrics"]["teacher_return"] == third["metrics"]["teacher_return"]


def test_a_batch_has_what_the_teacher_says_of_its_own_frames(taught_data):
    teacher = Teacher.open(taught_data[1] / "Pong" / "1")
    seen = {}

    def update(state, batches):
        seen["extras"] = batches.extras
        return state, {}

    spy = types.Learner(None, update, {})
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 84, 84, 4), np.uint8)
    rewards = np.zeros((2, 3), np.float32)
    batches = Transition(frames, None, rewards, None, None, {})
    with_teacher(spy, (VALUES, IMPORTANCE), teacher).update(None, batches)
    values = seen["extras"][VALUES]
    for k, b in np.ndindex(2, 3):
        np.testing.assert_allclose(values[k, b], teacher.values(frames[k, b][None])[0], rtol=1e-5)
    np.testing.assert_array_equal(seen["extras"][IMPORTANCE], np.ones((2, 3)))
    assert with_teacher(spy, (), None) is spy


def test_fine_tuning_starts_with_the_teachers_parameters(taught_data, tmp_path):
    teacher = Teacher.open(taught_data[1] / "Pong" / "1")
    (cell,) = plan(STUDENTS["Fine-tuning"], seeds=[0])
    learner = dqn.make(dqn.Config(), types.DiscreteSpec(6))
    state = as_teacher(cell, learner.init(jax.random.PRNGKey(5)), teacher)
    for of in (state.params, state.target_params):
        for x, y in zip(jax.tree.leaves(of), jax.tree.leaves(teacher.params), strict=True):
            np.testing.assert_array_equal(x, y)
    other = qr_dqn.make(qr_dqn.Config(), types.DiscreteSpec(6)).init(jax.random.PRNGKey(5))
    with pytest.raises(DatasetError, match="whose network is another than that of dqn"):
        as_teacher(cell, other, teacher)


@pytest.mark.usefixtures("quick_students")
def test_a_teacher_of_another_game_or_of_other_data_is_refused(taught_data, data_dir, tmp_path):
    teachers = taught_data[1]
    invaders = dataclasses.replace(
        RECIPE, rows=(changed(INVADERS, teacher="Pong/1", learner="qdagger_dqn", online={}),)
    )
    places = Places(data_dir, tmp_path, teachers_dir=teachers)
    with pytest.raises(DatasetError, match="plays Pong, and row 'Invaders' is of SpaceInvaders"):
        check(plan(invaders, seeds=[0]), places)
    with pytest.raises(DatasetError, match="is not the replay of the teacher"):
        check(plan(STUDENTS["QDagger"], seeds=[0]), places)  # the random agent's data
    nowhere = Places(taught_data[0], tmp_path, teachers_dir=tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="nowhere"):
        check(plan(STUDENTS["QDagger"], seeds=[0]), nowhere)
