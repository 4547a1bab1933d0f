"""What single rows ask of the runner: several rewards, another policy, a behaviour policy."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.training import runner
from benchmarks.training.cells import plan, seeds_of_rows, with_behaviors
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from benchmarks.training.run_folder import last_state
from benchmarks.training.tasks import choice, control
from builders.d4rl.d4rl_dataset_builder import Builder
from learners import brac_bc, brac_primal, training
from learners.registry import LEARNERS
from learners.types import Learner, Spec, TrainingState
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.d4rl import load_qlearning_dataset
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.share import Share
from rl_datasets.serving.source_samplings import SAMPLINGS, Files
from rl_datasets.serving.transitions import Transition
from tests.benchmarks import version_folders
from tests.benchmarks.changed_rows import changed

DATASET = "tiny/data:1.0.0"
CLONING = Row.of(
    "BC/data", DATASET, "Pendulum-v1", algorithm="BC", learner="brac_bc",
    config={"hidden_sizes": [8]},
)  # fmt: skip
KL = Row.of(
    "KL/data", DATASET, "Pendulum-v1", algorithm="KL", learner="brac_primal", behavior="BC",
    config={"policy_sizes": [8], "critic_sizes": [8]},
)  # fmt: skip
RECIPE = Recipe("Tiny", "tiny", "", (0, 1), 40, 4, 20, 2, (KL, CLONING))
PLACES = {"data_dir": "data", "runs_dir": "runs"}


def loaded(cuts: list):
    """A reader of made-up transitions that notes how they were to be cut."""

    def load(
        version: Version, split: str, cut: Cut, share: Share | None, **reading: object
    ) -> Transition:
        cuts.append((split, cut, reading))
        rng = np.random.default_rng(0)

        def normal(*shape):
            return rng.normal(size=shape).astype(np.float32)

        action = np.tanh(normal(50, 1))
        extras = {"next_action": action[::-1].copy()} if cut.next_action else {}
        return Transition(
            normal(50, 3), action, normal(50), np.ones(50, np.float32), normal(50, 3), extras
        )

    return load


@pytest.fixture
def cuts(monkeypatch):
    noted: list = []
    monkeypatch.setattr(control, "_transitions", loaded(noted))
    return noted


@pytest.fixture
def places(tmp_path):
    version_folders.write(tmp_path / "data" / CLONING.data.version_path)
    return runner.Places(tmp_path / "data", tmp_path / "runs")


def run(cells, places):
    runner.run_cells(cells, places, lambda cell, step: None)


def test_what_is_started_from_comes_first_whatever_was_asked_for():
    (kl,) = plan(RECIPE, ["KL/*"], [0])
    assert [c.row.name for c in with_behaviors([kl])] == ["BC/data", "KL/data"]
    assert with_behaviors(plan(RECIPE, seeds=[0])) == with_behaviors([kl])
    assert kl.behavior in plan(RECIPE, seeds=[0])  # its own learner and config, none of kl's


def test_a_behaviour_policy_is_trained_in_full_at_any_budget(cuts, places):
    kl, cloning = plan(RECIPE, seeds=[0], budget=0.5)
    in_full, *rest = with_behaviors([cloning, kl])
    assert rest == [cloning, kl]
    assert [cell.steps for cell in (in_full, cloning, kl)] == [40, 20, 20]
    assert [[c.row.name for c in cells] for cells in seeds_of_rows([in_full, *rest])] == [
        ["BC/data"],
        ["BC/data"],
        ["KL/data"],
    ]
    run([cloning], places)
    with pytest.raises(DatasetError, match=r"starts from the policy of BC/data .* run it first"):
        run([kl], places)
    run([in_full, kl], places)
    assert kl.is_done(places.runs_dir)


def test_a_behaviour_policy_that_no_row_clones_is_refused():
    with pytest.raises(DatasetError, match=r"'KL/data' starts from .* 'BC' on tiny/data:1.0.0"):
        plan(dataclasses.replace(RECIPE, rows=(KL,)))


def test_what_is_started_from_must_be_done(cuts, places):
    with pytest.raises(DatasetError, match=r"starts from the policy of BC/data .* run it first"):
        run(plan(RECIPE, ["KL/*"], [0]), places)


def test_two_policies_of_a_learner_that_starts_from_the_one_that_another_cloned(cuts, places):
    rows = (CLONING, KL, changed(KL, variant="both", policies=("act", "max_q")))
    cells = plan(dataclasses.replace(RECIPE, rows=rows), seeds=[0])
    run(cells, places)
    cloning, mode, both = cells

    spec = choice.task_of(mode.recipe, mode.row, places.data_dir).spec()
    behavior = brac_bc.make(brac_bc.Config(hidden_sizes=(8,)), spec)
    cloned = last_state(cloning.folder(places.runs_dir), behavior.init(jax.random.PRNGKey(0)))
    assert int(cloned.steps) == 40
    initial = brac_primal.make(mode.recipe.learner_config(), spec).init(jax.random.PRNGKey(0))
    initial = brac_primal.with_behavior(initial, cloned.params.policy)
    learned = last_state(mode.folder(places.runs_dir), initial)
    jax.tree.map(np.testing.assert_array_equal, learned.params.divergence, cloned.params.policy)

    mode, both = (read_results(cell.folder(places.runs_dir) / RESULTS) for cell in (mode, both))
    assert mode[0]["behavior"] == both[0]["behavior"] == "BC"
    assert not {"policies", "returns_of"} & mode[0].keys()
    assert both[0]["policies"] == ["act", "max_q"]
    for one, two in zip(mode, both, strict=True):
        assert one["metrics"] == two["metrics"]  # they learn the same, bit for bit
        assert one["returns"] == two["returns"]
        assert two["returns_of"].keys() == {"max_q"}
        assert len(two["returns_of"]["max_q"]) == len(two["returns"])
    assert both[-1]["returns"] != both[-1]["returns_of"]["max_q"]


def test_a_policy_that_the_learner_has_not_is_refused(cuts, places):
    refused = changed(CLONING, policies=("act", "max_q"))
    with pytest.raises(DatasetError, match="brac_bc has no policy max_q"):
        run(plan(dataclasses.replace(RECIPE, rows=(refused,)), seeds=[0]), places)


def test_a_run_without_its_state_cannot_be_started_from(cuts, places, tmp_path):
    with pytest.raises(DatasetError, match="no state to continue from"):
        last_state(tmp_path, TrainingState((), (), (), (), ()))


def test_several_rewards_reach_the_feed_with_the_learners_discount(cuts, places):
    row = Row.of("TD3+BC", DATASET, "Pendulum-v1", learner="td3_bc", n_step=3,
              config={"hidden_sizes": [8], "discount": 0.9})  # fmt: skip
    run(plan(dataclasses.replace(RECIPE, rows=(row,)), seeds=[0]), places)
    assert ("all", Cut(3, 0.9), {}) in cuts
    cells = plan(dataclasses.replace(RECIPE, rows=(row,)), seeds=[0])
    assert read_results(cells[0].folder(places.runs_dir) / RESULTS)[0]["n_step"] == 3


@pytest.mark.parametrize(
    ("collected_in", "scored_in"),
    [
        ("HalfCheetah-v4", "Walker2d-v4"),  # as many observations and actions
        ("Hopper-v4", "Hopper-v5"),
        ("Hopper-v2", "Hopper-v4"),
        (None, "Hopper-v2"),
    ],
)
def test_the_environment_of_the_data_decides_where_a_row_is_scored(
    tmp_path, collected_in, scored_in
):
    row = Row.of("BC", DATASET, scored_in, learner="bc")
    recipe = dataclasses.replace(RECIPE, rows=(row,)).of(row)
    version_folders.write(tmp_path / row.data.version_path, collected_in)
    of = collected_in or "an environment that its manifest does not name"
    with pytest.raises(DatasetError, match=f"is of {of}, and .* is scored in {scored_in}: name"):
        choice.task_of(recipe, row, tmp_path)
    meant = changed(row, in_another_environment=True)
    task = choice.task_of(recipe, meant, tmp_path)
    assert task.identity["collected_in"] == of


LETTER = {"reading": "qlearning_dataset", "n_step": 3, "across_time_limits": True}


def test_a_reading_reaches_the_data_and_every_line_of_results(cuts, places):
    row = Row.of("TD3+BC", DATASET, "Pendulum-v1", learner="td3_bc", config={"hidden_sizes": [8]},
              **LETTER)  # fmt: skip
    (cell,) = plan(dataclasses.replace(RECIPE, rows=(row,)), seeds=[0])
    run([cell], places)
    reading = {"reading": "qlearning_dataset", "across_time_limits": True}
    assert cuts[-1] == ("all", Cut(3, 0.99), reading)
    for line in read_results(cell.folder(places.runs_dir) / RESULTS):
        assert {name: value for name, value in line.items() if name in LETTER} == LETTER


def test_a_run_is_not_gone_on_with_by_another_reading(cuts, places):
    row = Row.of("BC", DATASET, "Pendulum-v1", learner="bc", config={"hidden_sizes": [8]})
    run(plan(dataclasses.replace(RECIPE, steps=20, rows=(row,)), seeds=[0]), places)
    other = changed(row, reading="qlearning_dataset")
    with pytest.raises(DatasetError, match="holds a run whose reading and steps differ"):
        run(plan(dataclasses.replace(RECIPE, rows=(other,)), seeds=[0]), places)


def test_several_rewards_are_refused_where_the_learner_has_no_discount(cuts, places):
    row = changed(CLONING, n_step=3)
    with pytest.raises(DatasetError, match="brac_bc does not discount rewards: leave it out"):
        run(plan(dataclasses.replace(RECIPE, rows=(row,)), seeds=[0]), places)


@pytest.mark.parametrize("feed", ["stream", "reverb", "localhost:1"])
def test_a_reading_is_refused_where_a_feed_cannot_give_it(cuts, places, feed):
    row = changed(CLONING, learner="td3_bc", **LETTER)
    cells = plan(dataclasses.replace(RECIPE, rows=(row,)), seeds=[0])
    asked = runner.Places(places.data_dir, places.runs_dir, feed)
    with pytest.raises(DatasetError, match="sets reading and across_time_limits, which only"):
        run(cells, asked)


def test_a_reading_is_refused_where_the_next_action_is_read(cuts, places, monkeypatch):
    monkeypatch.setattr(Recipe, "entry", lambda self: NOTHING)
    row = changed(CLONING, reading="qlearning_dataset")
    with pytest.raises(DatasetError, match="sets reading, which gives no next action"):
        run(plan(dataclasses.replace(RECIPE, rows=(row,)), seeds=[0]), places)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"reading": "qlearning_dataset", "split": "train"}, "leave out its split or its reading"),
        ({"reading": "qlearning_dataset", "n_step": 3}, "does not say where time limits were"),
        ({"across_time_limits": True}, "cross no time limit: give it an n_step"),
    ],
)
def test_a_reading_that_cannot_be_combined_is_refused(wrong, named):
    with pytest.raises(DatasetError, match=named):
        changed(CLONING, **wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"sampling_options": {"rows": 9}}, "sampling_options of uniform: there are none"),
        (
            {"sampling": "cql", "sampling_options": {"row": 9}},
            "no field 'row': did you mean 'rows'",
        ),
        ({"sampling": "cql", "sampling_options": {"rows": 0}}, "rows must be a whole number of at"),
        ({"sampling": "rl_unplugged", "sampling_options": {"files": 2}}, "no field 'files'"),
    ],
)
def test_options_that_a_sampling_does_not_have_are_refused(wrong, named):
    with pytest.raises(DatasetError, match=f"row 'BC/data', .*{named}"):
        changed(CLONING, **wrong)


def test_every_source_s_sampling_is_an_option_and_its_numbers_may_be_changed():
    for name, sampling in SAMPLINGS.items():
        assert changed(CLONING, sampling=name).data.source_sampling() == sampling
    other = changed(CLONING, sampling="cql", sampling_options={"rows": 1000, "files": 50})
    assert other.data.source_sampling() == Files(files=50, rows=1000)


def test_continuous_control_is_drawn_uniformly(cuts, places):
    recipe = dataclasses.replace(RECIPE, rows=(changed(CLONING, sampling="batch_rl"),))
    with pytest.raises(DatasetError, match="as batch_rl does, from files that only data of games"):
        run(plan(recipe, seeds=[0]), places)


def test_what_a_row_reads_of_a_real_file(shared, tmp_path):
    """Two episodes of 1000 that a time limit cut, of which D4RL loses the last rows."""
    source = str(shared / "d4rl" / "halfcheetah_medium-v2.hdf5")
    publish(Builder(config="halfcheetah-medium-v2", source=source, data_dir=tmp_path))
    row = Row.of("BC", "d4rl/halfcheetah-medium-v2:2.0.0", "HalfCheetah-v2")

    def read(**options):
        task = control.ContinuousControl(
            changed(row, **options), version, row.scoring.environment, 0.5
        )
        return task.transitions()

    version = Version.open(tmp_path / row.data.version_path)
    corrected, own = load_transitions(version), load_qlearning_dataset(version)
    for ours, theirs in ((read(), corrected), (read(reading="qlearning_dataset"), own)):
        jax.tree.map(np.testing.assert_array_equal, ours[:5], theirs[:5])
    # In D4RL's reading row 998 is the first episode's last, and in the file's row 999.
    for stored, last, windows in (
        (own, 998, read(**LETTER)),
        (corrected, 999, read(n_step=3, across_time_limits=True)),
    ):
        assert len(windows.reward) == len(stored.reward)
        expected = stored.reward[last] + stored.reward[last + 1] / 2 + stored.reward[last + 2] / 4
        assert windows.reward[last] == pytest.approx(expected, rel=1e-6)
        assert windows.discount[last] == 0.25
        np.testing.assert_array_equal(
            windows.next_observation[last], stored.next_observation[last + 2]
        )
    assert read(n_step=3).discount[999] == 1  # which ends where the episode does


def _learning_nothing(config: brac_bc.Config, spec: Spec) -> Learner:
    def step(state, batch):
        return state, {"next_action": batch.extras["next_action"].mean()}

    return brac_bc.make(config, spec)._replace(update=training.scan(step, spec))


NOTHING = dataclasses.replace(  # It reads the next action.
    LEARNERS["brac_bc"], make=_learning_nothing, extras=lambda config: ("next_action",)
)


def test_the_data_s_next_action_is_served_to_a_learner_that_reads_it(cuts, places, monkeypatch):
    monkeypatch.setattr(Recipe, "entry", lambda self: NOTHING)
    recipe = dataclasses.replace(RECIPE, rows=(CLONING,))
    run(plan(recipe, seeds=[0]), places)
    assert cuts[-1] == ("all", Cut(next_action=True), {})
    (cell,) = plan(recipe, seeds=[0])
    metrics = read_results(cell.folder(places.runs_dir) / RESULTS)[-1]["metrics"]
    assert metrics["next_action"] != 0
    stream = runner.Places(places.data_dir, places.runs_dir / "stream", feed="stream")
    with pytest.raises(DatasetError, match="stream does not give the next_action"):
        run([cell], stream)


def test_a_row_that_names_a_policy_twice_is_refused():
    with pytest.raises(DatasetError, match="'BC/data' names a policy twice"):
        changed(CLONING, policies=("act", "act"))
