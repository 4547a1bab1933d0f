"""A dry run refuses what the run would refuse, by the same sentence, before anything is trained."""

import re

import pytest

from benchmarks.tables import reproduce as job
from benchmarks.training import preparation
from rl_datasets.errors import DatasetError
from tests.benchmarks.made_up import recipe

RECIPE = recipe("brac/pendulum:2.0.0", "Pendulum-v1")
SMALL = "hidden_sizes = [8]"


@pytest.fixture
def reproduce(pendulum, tmp_path):
    """Writes a recipe with edits, each a line's key and what stands in its place, and runs it."""

    def reproduce(*edits, **options):
        text = RECIPE
        for key, by in edits:
            (line,) = [each for each in text.splitlines() if each.split(" = ")[0] == key]
            text = text.replace(line, by)
        (tmp_path / "mine.toml").write_text(text)
        options = {"data_dir": pendulum, "runs_dir": tmp_path / "runs", **options}
        return job.reproduce(str(tmp_path / "mine.toml"), **options)

    return reproduce


WRONG = [
    ([("learner", 'learner = "bcc"')], "mine.toml: learner is 'bcc', .*choose from bc,"),
    ([("learner", 'learner = "types"')], "mine.toml: learner is 'types'"),
    ([("learner", 'learner = "dqn"')], "dqn is made for a DiscreteSpec, and Pendulum-v1 is a Spec"),
    ([("environment", 'environment = "Pendulum-v9"')], "row 'row' is scored in Pendulum-v9: name"),
    (
        [("environment", 'environment = "Pendulum-v9"\nin_another_environment = true')],
        "'Pendulum-v9' cannot be made",
    ),
    ([("[config]", "[config]\nwidth = 3")], "config of bc has no field 'width'"),
    ([("name", 'name = "row"\nsplit = "tset"')], "has no split 'tset'"),
    (
        [("name", 'name = "row"\npolicies = ["max_q"]')],
        "bc has no policy max_q, which row 'row' asks",
    ),
    ([("name", 'name = "row"\nn_step = 3')], "learner bc does not discount rewards"),
    ([("dataset", 'dataset = "brac/pendulum:9.9.9"')], "pendulum:9.9.9' is not published"),
    ([("name", 'name = "row"\nbehavior = "BC"')], "has no such row: add it"),
    (
        [("title", 'table = "brac_bc"'), ("name", 'reported = "Hopper-v2/pur"')],
        "mine.toml: the table 'brac_bc' has no row 'Hopper-v2/pur', did you mean 'Hopper-v2/pure'",
    ),
    # What only the learner knows.
    (
        [("learner", 'learner = "td3_bc"'), ("evaluate_every", "evaluate_every = 5")],
        "row 'row' cannot be trained by td3_bc, correct it: .*policy_delay",
    ),
    ([("learner", 'learner = "brac_primal"')], "cannot be trained by brac_primal.*no behaviour"),
    ([("learner", 'learner = "brac_dual"')], "discriminator_steps=3 minibatches, got 8"),
]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("edits", "said"), WRONG)
def test_what_cannot_be_run_is_refused_by_both(reproduce, tmp_path, edits, said, dry_run):
    with pytest.raises(DatasetError, match=said):
        reproduce(*edits, dry_run=dry_run)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("feed", ["xyz", "localhost", "localhost:port", ":8000", ""])
def test_an_unknown_feed_is_refused_by_a_dry_run(reproduce, feed):
    with pytest.raises(DatasetError, match=f"unknown feed '{feed}', choose arrays, stream"):
        reproduce(feed=feed, dry_run=True)


@pytest.mark.reverb
@pytest.mark.parametrize("feed", ["localhost:9", "[::1]:9"])
def test_a_server_that_does_not_answer_is_refused_by_a_dry_run(reproduce, monkeypatch, feed):
    monkeypatch.setattr(preparation, "_SERVER_SECONDS", 1.0)
    with pytest.raises(DatasetError, match=f"no Reverb server answers at {re.escape(feed)}"):
        reproduce(feed=feed, dry_run=True)


@pytest.mark.parametrize("feed", ["arrays", "stream", "reverb"])
def test_a_dry_run_of_what_can_be_run_runs_nothing(reproduce, tmp_path, feed):
    assert reproduce(feed=feed, dry_run=True) is None
    assert not (tmp_path / "runs").exists()


def test_a_feed_that_does_not_give_what_the_learner_reads_is_refused(reproduce):
    rebrac = ("learner", 'learner = "rebrac"')
    with pytest.raises(DatasetError, match=r"stream does not give the next_action that .*rebrac"):
        reproduce(rebrac, feed="stream", dry_run=True)
    reproduce(rebrac, feed="reverb", dry_run=True)


def test_data_of_another_environment_are_refused_without_being_read(reproduce, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.training.tasks.control._transitions", lambda *_, **__: pytest.fail("read")
    )
    reproduce(dry_run=True)
    with pytest.raises(DatasetError, match=r"is of Pendulum-v1, and row .* in Inv"):
        reproduce(("environment", 'environment = "InvertedPendulum-v4"'), dry_run=True)


def test_a_folder_that_holds_another_run_is_refused(reproduce):
    small = ("[config]", f"[config]\n{SMALL}")
    reproduce(small)
    reproduce(small, ("batch_size", "batch_size = 9"), dry_run=True)  # It is done.
    longer = [small, ("steps", "steps = 30"), ("batch_size", "batch_size = 9")]
    with pytest.raises(DatasetError, match=r"mine/.* holds a run whose batch_size and steps"):
        reproduce(*longer, dry_run=True)


def test_a_damaged_run_is_told(reproduce, tmp_path):
    """A run continues a smaller budget's, as it continues an interrupted one."""
    small = ("[config]", f"[config]\n{SMALL}")
    reproduce(small, budget=0.5)
    (folder,) = (tmp_path / "runs" / "mine-budget-0.5").rglob("seed-0")
    (folder / "checkpoint.npz").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"checkpoint\.npz is .*damaged.*remove .* to run it ag"):
        reproduce(small)
    for content in ("", "[]"):
        (run,) = (tmp_path / "runs" / "mine").rglob("run.json")
        run.write_text(content)
        with pytest.raises(DatasetError, match=r"run\.json .*: remove .*seed-0"):
            reproduce(small, dry_run=True)


ALGORITHMS = """
[[algorithms]]
name = "BC"
learner = "{cloner}"
{config}
[[algorithms]]
name = "KL"
learner = "{learner}"
behavior = "BC"
"""


@pytest.mark.parametrize(
    ("cloner", "config", "learner", "said"),
    [
        ("bc", "", "brac_primal", "starts from the policy of 'BC', and brac_primal takes none"),
        ("brac_bc", "", "td3_bc", "starts from the policy of 'BC', and td3_bc takes none"),
        ("brac_bc", f"config = {{ {SMALL} }}", "brac_primal", "a behaviour policy has params of"),
    ],
)
def test_a_behaviour_policy_that_does_not_fit_is_refused_before_it_is_cloned(
    reproduce, tmp_path, cloner, config, learner, said
):
    algorithms = ALGORITHMS.format(cloner=cloner, config=config, learner=learner)
    with pytest.raises(DatasetError, match=f"KL/row.*{said}"):
        reproduce(("[config]", algorithms))
    assert not (tmp_path / "runs").exists()


def test_a_behaviour_policy_that_fits_is_not_refused(reproduce):
    algorithms = ALGORITHMS.format(cloner="brac_bc", config="", learner="brac_primal")
    assert reproduce(("[config]", algorithms), dry_run=True) is None
