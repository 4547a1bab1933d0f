"""Every recipe that is shipped, as far as a dry run goes: on manifests alone, without data."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from dm_env import specs

from benchmarks.tables.reproduce import reproduce
from benchmarks.training.online import agent_file
from benchmarks.training.recipe import Recipe, load_recipe, recipe_names
from benchmarks.training.row import AS_STORED, OWN, Row
from learners import discrete_bc, discrete_bcq, discrete_cql, dqn, qr_dqn
from learners.types import DiscreteSpec
from rl_datasets import files, run_log
from rl_datasets.episode import EpisodeSpec
from rl_datasets.serving.share import Share
from rl_datasets.serving.source_samplings import Files
from rl_datasets.sources import rl_unplugged
from rl_datasets.sources.atari import ATARI_GAMES, atari_episode_spec
from tests.benchmarks import version_folders

SIZES = {"HalfCheetah-v2": (17, 6), "HalfCheetah-v4": (17, 6), "Hopper-v2": (11, 3)}
SIZES |= {"Walker2d-v2": (17, 6), "Ant-v2": (111, 8)}  # of observations and actions


def of_every_kind(recipe: Recipe) -> list[Row]:
    """A row for each way to learn that the recipe has; numbers that are not whole change none."""
    kinds: dict[str, Row] = {}
    for row in recipe.rows:
        if not row.blocked:
            of = recipe.of(row)
            shaping = {k: v for k, v in of.config.items() if not isinstance(v, float)}
            behavior = row.learning.behavior
            kind = of.learner, shaping, of.batch_size, behavior, row.scoring.policies
            data = row.data.normalize_observations, row.data.sampling, row.data.share
            data += (repr(row.learning.online),)
            kinds.setdefault(repr((kind, data)), row)
    return [*kinds.values()]


def keep_teacher(row: Row, teachers_dir: pathlib.Path) -> str:
    """Makes a teacher of the row's game that has learned nothing, and gives its file's hash."""
    game, path = row.scoring.environment, teachers_dir / row.learning.teacher
    name, module, config = "dqn", dqn, dqn.Config()
    if path.suffix == ".npz":
        name, module, config = "qr_dqn", qr_dqn, qr_dqn.TIANSHOU
    else:
        path.mkdir(parents=True, exist_ok=True)
        run_log.write(path, {"game": game, "run": 1, "time_limit": 27_000})
        path /= run_log.AGENT
    if not path.exists():
        count = ATARI_GAMES[game].num_actions
        params = module.make(config, DiscreteSpec(count)).init(jax.random.PRNGKey(0)).params
        facts = {"game": game, "rom_set": "ale-py 0.12.1", "num_actions": count}
        path.parent.mkdir(parents=True, exist_ok=True)
        agent_file.save(path, name, config, params, facts)
    return files.sha256_of(path)


def publish_manifest(row: Row, data_dir: pathlib.Path, **lineage: str) -> None:
    """A manifest of the row's dataset, and no data."""
    environment = row.scoring.environment
    if environment in ATARI_GAMES:
        count = ATARI_GAMES[environment].num_actions
        is_episodes_of_files = row.data.reading == AS_STORED
        spec = (
            rl_unplugged.episode_spec(count) if is_episodes_of_files else atari_episode_spec(count)
        )
        lineage |= {"game": environment, "sticky_probability": 0.25, "rom_set": "ale-py 0.12.1"}
        splits = [f"checkpoint_{number:02d}" for number in range(50)]
        version_folders.write(data_dir / row.data.version_path, None, spec, splits, **lineage)
    else:
        observations, actions = SIZES[environment]
        spec = EpisodeSpec(
            specs.Array((observations,), np.float32),
            specs.BoundedArray((actions,), np.float32, -1.0, 1.0),
        )
        version_folders.write(data_dir / row.data.version_path, environment, spec)


@pytest.mark.parametrize("name", recipe_names())
def test_a_dry_run_makes_and_traces_every_kind_of_learner(name, tmp_path, capsys):
    rows = of_every_kind(load_recipe(name))
    for row in rows:
        of_teacher = {}
        if row.learning.teacher:
            of_teacher = {"agent_sha256": keep_teacher(row, tmp_path / "teachers")}
        publish_manifest(row, tmp_path / "data", **of_teacher)
    named = [row.name for row in rows]
    where = {
        "data_dir": tmp_path / "data",
        "runs_dir": tmp_path / "runs",
        "teachers_dir": tmp_path / "teachers",
    }
    assert reproduce(name, rows=named, **where, dry_run=True) is None
    shown = capsys.readouterr().out
    assert all(name in shown for name in named)
    assert not (tmp_path / "runs").exists()


# As the sources print them, apart from the files; what a source's learners share is in `SHARED`.
PRINTED = [
    ("batch_rl", "DQN (Nature)/Pong/run_1", {"optimizer": "rmsprop", "learning_rate": 0.00025}),
    ("batch_rl", "C51/Pong/run_1", {"num_atoms": 51, "vmax": 10.0, "learning_rate": 0.00025}),
    ("batch_rl", "QR-DQN/Venture/run_5", {"num_quantiles": 200, "learning_rate": 0.00005}),
    ("batch_rl", "Ensemble-DQN/Pong/run_1", {"num_heads": 200, "is_averaged": False}),
    ("batch_rl", "Averaged Ensemble-DQN/Pong/run_1", {"num_heads": 200, "is_averaged": True}),
    ("batch_rl", "REM/Pong/run_1", {"num_heads": 200, "epsilon": 0.0003125}),
    ("cql_atari", "CQL(H)/Pong/1%/first-1000-rows", {"weight": 4.0, "is_double": False}),
    ("cql_atari", "CQL(H)/Qbert/10%/first-10000-rows", {"weight": 1.0, "is_double": False}),
    ("cql_atari", "REM/Pong/1%/first-1000-rows", {"num_heads": 200}),
    ("cql_atari", "CQL(H)/Seaquest/1%/uniform", {"weight": 4.0, "is_double": False}),
    ("cql_atari", "CQL(H)/Seaquest/10%/uniform", {"weight": 1.0, "is_double": False}),
    ("d3rlpy_atari", "DiscreteBCQ/Asterix", {"threshold": 0.3, "penalty": 0.01}),
    ("d3rlpy_atari", "DiscreteCQL/Pong", {"weight": 4.0, "is_double": True}),
    ("d3rlpy_atari", "QR-DQN/Pong", {"is_double": False, "network": "d3rlpy"}),
    ("rl_unplugged_atari", "BC/Pong", {"learning_rate": 0.00003}),
    ("rl_unplugged_atari", "DQN/Pong", {"learning_rate": 0.00003, "is_double": True}),
    ("rl_unplugged_atari", "BCQ/Pong", {"learning_rate": 0.0001, "threshold": 0.5}),
    ("rl_unplugged_atari", "REM/Pong", {"num_heads": 4, "are_networks": True}),
    ("slimcql", "DQN/Pong/run_1", {"epsilon": 0.00015, "network": "dopamine"}),
    ("slimcql", "CQL/Pong/impala/run_1", {"epsilon": 0.0003125, "network": "impala"}),
    ("slimcql", "CQL/Pong/run_1", {"weight": 0.1, "num_quantiles": None}),
    ("dopamine_labs", "jax_dqn/Pong/run_1", {"learning_rate": 0.0000625, "epsilon": 0.00015}),
    ("tianshou_discrete", "CQL/Breakout", {"weight": 50.0}),
    ("tianshou_discrete", "CQL/Breakout/100k", {"weight": 20.0}),
    ("tianshou_discrete", "CQL/Breakout/10k", {"weight": 10.0}),
    ("tianshou_discrete", "CQL/Pong", {"weight": 10.0}),
    ("tianshou_discrete", "CRR + CQL/Breakout", {"cql_weight": 50.0}),
    ("tianshou_discrete", "CRR/Breakout", {"cql_weight": 0.0}),
    ("reincarnating", "QDagger/Pong", {"coefficient": 3.0, "temperature": 0.1, "decays": True}),
    ("reincarnating", "QDagger/Pong", {"learning_rate": 0.0001, "final_learning_rate": 0.00001}),
    ("reincarnating", "QDagger/Pong", {"epsilon": 0.00015, "network": "dopamine"}),
    ("reincarnating", "DQfD/Pong", {"margin": 1.0, "coefficient": 1.0, "decays": False}),
    ("reincarnating", "DQfD/Pong", {"learning_rate": 0.0001, "epsilon": 0.00015}),
    ("reincarnating", "Pretraining/Pong", {"weight": 1.0, "temperature": 0.1}),
    ("reincarnating", "Pretraining/Pong", {"num_quantiles": None, "learning_rate": 0.0001}),
    ("reincarnating", "JSRL/Pong", {"optimizer": "adam", "learning_rate": 0.0000625}),
]
ADAM_AND_TARGET = {"learning_rate": 0.00005, "epsilon": 0.0003125, "target_period": 2_000}
SHARED = {
    "cql_atari": ADAM_AND_TARGET,
    "d3rlpy_atari": {**ADAM_AND_TARGET, "num_quantiles": 200},
    "batch_rl": {"discount": 0.99, "target_period": 2_000},
    "rl_unplugged_atari": {"target_period": 2_500, "epsilon": 1e-7},
    "slimcql": {"is_squared": True, "learning_rate": 0.00005, "target_period": 2_000},
    "dopamine_labs": {"optimizer": "adam", "is_squared": True, "is_double": False},
    "tianshou_discrete": {"discount": 0.99, "target_period": 500, "learning_rate": 0.0001},
    "reincarnating": {"discount": 0.99, "target_period": 2_000},
}
# Batches and gradient steps.
BUDGETS = {
    "batch_rl": (32, 200 * 62_500),
    "cql_atari": (32, 1_000 * 62_500),
    "d3rlpy_atari": (32, 100 * 125_000),
    "rl_unplugged_atari": (256, 2_000_000),
    "slimcql": (32, 50 * 62_500),
    "dopamine_labs": (32, 200 * 62_500),
    "reincarnating": (32, 1_000_000),
}


def row_of(recipe: Recipe, name: str) -> Row:
    (row,) = [row for row in recipe.rows if row.name == name]
    return row


@pytest.mark.parametrize(("name", "row", "printed"), PRINTED)
def test_a_row_has_the_settings_of_its_source(name, row, printed):
    recipe = load_recipe(name)
    of = recipe.of(row_of(recipe, row))
    config = dataclasses.asdict(of.learner_config())
    shared = {field: value for field, value in SHARED[name].items() if field in config}
    assert shared
    assert (shared | printed).items() <= config.items()
    assert (of.batch_size, of.steps) == BUDGETS.get(name, (of.batch_size, of.steps))


@pytest.mark.parametrize(
    ("name", "row", "config"),
    [
        ("tianshou_discrete", "IL/Pong", discrete_bc.TIANSHOU),
        ("tianshou_discrete", "BCQ/Breakout", discrete_bcq.TIANSHOU),
        ("tianshou_discrete", "CQL/Pong", discrete_cql.TIANSHOU),
        ("d3rlpy_atari", "DiscreteBCQ/Qbert", discrete_bcq.D3RLPY),
        ("d3rlpy_atari", "DiscreteCQL/Qbert", discrete_cql.D3RLPY),
        ("batch_rl", "DQN (Adam)/Pong/run_1", dqn.ADAM),
    ],
)
def test_a_row_has_the_config_that_is_held_to_its_peer(name, row, config):
    """The tests of parity take these from the learners."""
    recipe = load_recipe(name)
    assert recipe.of(row_of(recipe, row)).learner_config() == config


def test_tianshous_rows_of_breakout_are_longer():
    recipe = load_recipe("tianshou_discrete")
    steps = {row.reported: recipe.of(row).steps for row in recipe.rows}
    assert {of: n for of, n in steps.items() if "Pong" in of} == {
        of: 50_000 for of in steps if "Pong" in of
    }
    assert {n for of, n in steps.items() if "Breakout" in of} == {120_000}


@pytest.mark.parametrize(
    ("name", "row", "sampling"),
    [
        ("batch_rl", "REM/Pong/run_1", None),
        ("batch_rl", "REM/Pong/run_1/source-sampling", Files(files=5, redraw=62_500)),
        ("slimcql", "CQL/Pong/source-data/run_1", Files(files=3, rows=100_000, redraw=62_500)),
        ("cql_atari", "CQL(H)/Pong/1%/first-1000-rows", Files(files=10, rows=1_000)),
        ("cql_atari", "CQL(H)/Pong/10%/first-10000-rows", Files(files=10, rows=10_000)),
        ("d3rlpy_atari", "QR-DQN/Pong", Files(files=50, rows=10_000)),
    ],
)
def test_a_row_draws_its_batches_as_its_recipe_says(name, row, sampling):
    assert row_of(load_recipe(name), row).data.source_sampling() == sampling


def test_cqls_uniform_rows_train_on_the_share_that_they_are_named_by():
    rows = [row for row in load_recipe("cql_atari").rows if row.variant == "uniform"]
    assert len(rows) == 3 * 2 * 5
    shares = {row.reported.rpartition("/")[2]: row.data.uniform_share() for row in rows}
    assert shares == {"1%": Share(0.01, 0), "10%": Share(0.1, 0)}


def test_d3rlpys_rows_stand_apart_for_their_data_are_of_another_rule():
    rows = load_recipe("d3rlpy_atari").rows
    assert {row.data.kind for row in rows} == {OWN}
    assert {row.data.dataset for row in rows if "Asterix" in row.name} == {
        "dqn_replay/Asterix_run_2:1.1.0"
    }


@pytest.mark.parametrize(
    ("row", "n_step", "options"),
    [
        ("QDagger/Pong", 3, {"weight_steps": 1_500_000, "weight_rule": "latched"}),
        ("QDagger/Pong", 3, {"iterations": 10, "steps_per_iteration": 250_000}),
        ("QDagger/Pong", 3, {"min_replay": 20_000, "epsilon_decay_steps": 50_000}),
        ("Kickstarting/Pong", 3, {"skips_offline": True, "keeps_optimizer": True}),
        ("DQfD/Pong", 1, {"weight_steps": 1_500_000, "skips_offline": False}),
        ("Pretraining/Pong", 1, {"keeps_optimizer": False, "learner": "dqn"}),
        ("Rehearsal/Pong", 3, {"skips_offline": True, "teacher_share": 1 / 16}),
        ("JSRL/Pong", 1, {"iterations": 20, "steps_per_iteration": 125_000}),
        ("Tabula rasa/Pong", 3, {"skips_offline": True, "teacher_share": 0.0}),
    ],
)
def test_students_continue_online_as_the_gin_files_have_it(row, n_step, options):
    recipe = load_recipe("reincarnating")
    chosen = row_of(recipe, row)
    assert chosen.data.n_step == n_step
    found = recipe.of(chosen).online_options(chosen)
    assert {name: getattr(found, name) for name in options} == options
    if row.startswith("JSRL"):
        assert dataclasses.astuple(found.guide) == (100, 1.0, False, 1.0, 2_500_000)
    if row.startswith("Pretraining"):
        online = recipe.of(chosen).online_recipe(chosen, found).learner_config()
        assert (online.learning_rate, online.epsilon) == (1e-5, 1.5e-4)
