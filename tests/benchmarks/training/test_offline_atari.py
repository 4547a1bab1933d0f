"""Offline learners of games, from a logged run to a score: what feeds and what scores them."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from benchmarks.tables import protocol, report_text, results_folder
from benchmarks.tables.reproduce import reproduce
from benchmarks.training import feeds, offline, preparation
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.cells import plan
from benchmarks.training.online import atari as online_atari
from benchmarks.training.preparation import Places
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import QLEARNING_DATASET, Row
from benchmarks.training.tasks import atari, choice
from builders.dqn_replay.dqn_replay_dataset_builder import Builder
from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder as RlUnplugged
from learners import dqn
from learners.registry import LEARNERS
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.reverb import ReverbServer
from rl_datasets.sources import rl_unplugged
from tests.benchmarks import version_folders
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.training.test_online_atari import MAKE, SMALL, small_network
from tests.builders.rl_unplugged_atari.test_rl_unplugged_atari_dataset_builder import VERSION_1
from tests.rl_datasets.sources import rl_unplugged_files

PONG = Row.of("Pong", "dqn_replay/Pong_run_1-recollected:1.1.0", "Pong")
INVADERS = Row.of("Invaders", "dqn_replay/SpaceInvaders_run_1-recollected:1.1.0", "SpaceInvaders")
RECIPE = Recipe(
    title="Tiny",
    table="tiny",
    learner="dqn",
    seeds=(0, 1),
    steps=12,
    batch_size=2,
    evaluate_every=4,
    episodes=2,
    rows=(PONG,),
    atari=AtariProtocol(evaluation_epsilon=0.5, max_episode_steps=20),
)
SHORT = dataclasses.replace(RECIPE, steps=4)
BY_FILES = changed(PONG, sampling="slimcql", sampling_options={"files": 1, "rows": 3, "redraw": 4})


def log_by_hand(folder: pathlib.Path, **log: object) -> str:
    """A few rows of a run of Space Invaders that says of itself what `log` says."""
    home = folder / "SpaceInvaders" / "1"
    with ReplayLog(home / "replay_logs", 30) as replay:
        for number in range(40):
            replay.add(np.full((84, 84), number, np.uint8), number % 6, 0, number % 10 == 9)
    plain = {"game": "SpaceInvaders", "run": 1, "time_limit": 27_000, "sticky_probability": 0.25}
    log = {name: value for name, value in {**plain, **log}.items() if value is not None}
    (home / "log.json").write_text(json.dumps(log))
    return str(home)


def publish_run(source: str, data_dir: pathlib.Path) -> pathlib.Path:
    return publish(Builder(source=source, config=Builder.config_of(source), data_dir=data_dir)).path


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Two published runs: a random agent's of Pong in three checkpoints, and one made by hand."""
    folder = tmp_path_factory.mktemp("atari")
    home = online_atari.log_run("Pong", folder / "logs", agent="random", schedule=SMALL)
    publish_run(str(home), folder / "data")
    publish_run(log_by_hand(folder / "logs", rom_set="atari-py 0.2.5"), folder / "data")
    return folder / "data"


@pytest.fixture(autouse=True)
def quick_learners(monkeypatch):
    """Learners of small networks, compiled once: both take longer than these runs."""
    for module, make in MAKE.items():
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, "styled", small_network)
        monkeypatch.setitem(LEARNERS, name, dataclasses.replace(LEARNERS[name], make=make))


def run(data_dir, runs_dir, recipe=RECIPE, seeds=(0,), feed="arrays", **options):
    """Runs a recipe of one row; gives the lines of its first seed."""
    cells = plan(recipe, seeds=seeds)
    progress = options.pop("progress", lambda cell, step: None)
    offline.run_cells(cells, Places(data_dir, runs_dir, feed), progress, **options)
    return read_results(cells[0].folder(runs_dir) / RESULTS)


def measured(lines):
    """What must repeat: all but the seconds and the commit."""
    return [(line["seed"], line["step"], line["returns"], line["metrics"]) for line in lines]


@pytest.fixture(scope="module")
def uncut(data_dir, tmp_path_factory):
    """Lines of a run that nothing disturbed."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(dqn, "styled", small_network)
        entry = dataclasses.replace(LEARNERS["dqn"], make=MAKE[dqn])
        monkeypatch.setitem(LEARNERS, "dqn", entry)
        return run(data_dir, tmp_path_factory.mktemp("uncut"))


def test_a_line_says_by_what_protocol_it_was_scored(uncut):
    assert [line["step"] for line in uncut] == [4, 8, 12]
    line = uncut[-1]
    assert (line["rom_set"], line["rom_md5"]) == (
        "ale-py 0.12.1",
        "60e0ea3cbe0913d39803477945e9e5ec",
    )
    assert (line["sticky_probability"], line["split"], line["n_step"]) == (0.25, "all", 1)
    assert (line["evaluation_epsilon"], line["max_episode_steps"]) == (0.5, 20)
    assert len(line["returns"]) == 2
    assert np.isfinite(line["metrics"]["loss"])


def test_the_protocol_by_default_is_that_of_dqn_replay():
    assert dataclasses.astuple(AtariProtocol()) == (0.001, 27_000, 0, None, 0, False)


def test_an_evaluation_otherwise_than_by_the_data_says_so_in_its_lines(data_dir, tmp_path):
    """By steps, two of the episodes of 20 steps that have no end before; without sticky actions."""
    other = dataclasses.replace(
        RECIPE.atari, evaluation_steps=21, sticky_probability=0.0, most_no_ops=3
    )
    (line,) = run(data_dir, tmp_path, dataclasses.replace(SHORT, atari=other))
    assert len(line["returns"]) == 2
    told = ("sticky_probability", "evaluation_steps", "most_no_ops")
    assert [line[name] for name in told] == [0.0, 21, 3]
    assert "presses_fire" not in line
    text = protocol.measured(dataclasses.replace(SHORT, atari=other), [line])
    assert "every 4 on as many whole episodes as have 21 steps together" in text
    assert "sticky actions 0, random actions 0.5" in text
    assert "1 to 3 no-ops first, rewards not clipped" in text
    assert "evaluation steps" not in text  # It is told once.


def test_the_same_seed_gives_the_same_and_another_does_not(data_dir, uncut, tmp_path):
    assert measured(run(data_dir, tmp_path)) == measured(uncut)
    (other,) = run(data_dir, tmp_path / "other", SHORT, seeds=(1,))
    assert other["metrics"] != uncut[0]["metrics"]


@pytest.mark.parametrize(
    ("feed", "row"), [("arrays", PONG), ("stream", PONG), ("arrays", BY_FILES)]
)
def test_a_cut_run_continues_bit_for_bit(data_dir, tmp_path, feed, row):
    class Cut(Exception):
        pass

    def progress(cell, step):
        if step == 8:
            raise Cut

    recipe = dataclasses.replace(RECIPE, rows=(row,))
    uncut = run(data_dir, tmp_path / "uncut", recipe, feed=feed)
    with pytest.raises(Cut):
        run(data_dir, tmp_path / "cut", recipe, feed=feed, progress=progress)
    assert measured(run(data_dir, tmp_path / "cut", recipe, feed=feed)) == measured(uncut)


def test_quantiles_learn_as_well(data_dir, tmp_path):
    (line,) = run(data_dir, tmp_path, dataclasses.replace(SHORT, learner="qr_dqn"))
    assert line["config"]["num_quantiles"] == 200
    assert np.isfinite(line["metrics"]["loss"])


def test_natures_network_from_the_data_to_a_score(data_dir, tmp_path, monkeypatch):
    monkeypatch.undo()
    (line,) = run(data_dir, tmp_path, dataclasses.replace(RECIPE, steps=2, evaluate_every=2))
    assert np.isfinite(line["metrics"]["loss"])


def test_batches_are_stacks_of_the_published_frames(data_dir):
    task = choice.task_of(RECIPE, PONG, data_dir)
    cell = plan(RECIPE, seeds=[0])[0]
    whole = load_transitions(task.version, "all", Cut(frame_stack=4))
    known = {
        (stack.tobytes(), int(action), float(reward), following.tobytes())
        for stack, action, reward, following in zip(
            whole.observation, whole.action, whole.reward, whole.next_observation, strict=True
        )
    }
    for feed in ("arrays", "stream"):
        with feeds.open_feed(cell, task, feed, 4, 0) as batches:
            batch = next(batches)
        assert batch.observation.shape == (4, 2, 84, 84, 4)
        for place in np.ndindex(4, 2):
            drawn = (
                np.ascontiguousarray(batch.observation[place]).tobytes(),
                int(batch.action[place]),
                float(batch.reward[place]),
                np.ascontiguousarray(batch.next_observation[place]).tobytes(),
            )
            assert drawn in known


def test_a_row_may_train_on_some_checkpoints(data_dir, tmp_path):
    splits = json.loads((data_dir / PONG.data.version_path / "MANIFEST.json").read_text())["splits"]
    assert len(splits) >= 2
    row = changed(PONG, split="checkpoint_00")
    task = choice.task_of(RECIPE, row, data_dir)
    assert len(task.transitions().rows) == splits["checkpoint_00"]["transitions"]
    every = choice.task_of(RECIPE, PONG, data_dir).transitions()
    assert len(every.rows) == sum(split["transitions"] for split in splits.values())
    # Runs of other splits lie apart.
    recipe = dataclasses.replace(RECIPE, rows=(row,))
    assert [line["split"] for line in run(data_dir, tmp_path, recipe)] == ["checkpoint_00"] * 3
    assert not plan(RECIPE)[0].folder(tmp_path).exists()
    with pytest.raises(DatasetError, match="no split 'checkpoint_77'"):
        run(data_dir, tmp_path, dataclasses.replace(
            RECIPE, rows=(changed(PONG, split="checkpoint_77"),)
        ))  # fmt: skip


class TestSourceSamplings:
    def test_a_learner_is_given_what_the_source_would_draw(self, data_dir):
        cell = plan(dataclasses.replace(RECIPE, rows=(BY_FILES,)), seeds=[0])[0]
        task = choice.task_of(RECIPE, BY_FILES, data_dir)
        assert task.steps_in_a_call(10) == 2
        whole = load_transitions(task.version, "all", Cut(frame_stack=4))
        counts = [split["transitions"] for split in task.version.splits.values()]
        starts = np.cumsum([0, *counts[:-1]])
        eligible = [
            {whole.next_observation[start + row].tobytes() for row in range(3)} for start in starts
        ]
        drawn = []
        with feeds.open_feed(cell, task, "arrays", 4, 0) as batches:
            for batch in itertools.islice(batches, 30):
                of_call = {
                    np.ascontiguousarray(batch.next_observation[place]).tobytes()
                    for place in np.ndindex(4, 2)
                }
                drawn.append([of_call <= of_file for of_file in eligible].index(True))
        assert {*drawn} == {*range(len(counts))}

    def test_a_run_with_another_sampling_is_another_run(self, data_dir, tmp_path):
        run(data_dir, tmp_path, SHORT)
        with pytest.raises(DatasetError, match="holds a run whose sampling"):
            run(data_dir, tmp_path, dataclasses.replace(RECIPE, rows=(BY_FILES,)))

    def test_shards_are_dealt(self, data_dir, tmp_path):
        row = changed(PONG, sampling="rl_unplugged", sampling_options={"shuffle": 10})
        (line,) = run(data_dir, tmp_path, dataclasses.replace(SHORT, rows=(row,)))
        assert line["sampling"] == "rl_unplugged, shards 100, shuffle 10"

    @pytest.mark.parametrize("feed", ["stream", "reverb"])
    def test_other_feeds_are_refused(self, data_dir, tmp_path, feed):
        recipe = dataclasses.replace(SHORT, rows=(BY_FILES,))
        with pytest.raises(
            DatasetError, match="as slimcql does, which the feed arrays alone gives"
        ):
            run(data_dir, tmp_path, recipe, feed=feed)

    def test_too_few_checkpoints_are_refused(self, data_dir, tmp_path):
        row = changed(PONG, sampling="batch_rl", split="checkpoint_00")
        recipe = dataclasses.replace(SHORT, rows=(row,))
        with pytest.raises(
            DatasetError, match=r"as batch_rl does: 5 files are .* there are 1: join"
        ):
            run(data_dir, tmp_path, recipe)

    def test_only_the_files_that_are_held_need_memory(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setattr(atari, "_memory", lambda: 3 * 84 * 84)
        assert run(data_dir, tmp_path, dataclasses.replace(SHORT, rows=(BY_FILES,)))
        monkeypatch.setattr(atari, "_memory", lambda: 3 * 84 * 84 - 1)
        with pytest.raises(DatasetError, match="name some of its splits"):
            run(data_dir, tmp_path / "less", dataclasses.replace(SHORT, rows=(BY_FILES,)))


def test_rewards_of_several_steps_are_discounted_as_the_learner_discounts(data_dir):
    recipe = dataclasses.replace(RECIPE, config={"discount": 0.5})
    row = changed(PONG, n_step=3)
    rows = choice.task_of(recipe, row, data_dir).transitions().rows
    expected = load_transitions(data_dir / PONG.data.version_path, "all", Cut(3, 0.5, 4))
    np.testing.assert_array_equal(rows["reward"], expected.reward)
    np.testing.assert_array_equal(rows["discount"], expected.discount)
    assert set(np.unique(rows["reward"])) - {-1, 0, 1}  # One of two or three steps on.


OWN = """
learner = "dqn"
seeds = [0]
steps = 4
batch_size = 2
evaluate_every = 4
episodes = 2
[atari]
max_episode_steps = 20
[[rows]]
name = "Pong, all"
dataset = "dqn_replay/Pong_run_1-recollected:1.1.0"
environment = "Pong"
[[rows]]
name = "Pong, early"
dataset = "dqn_replay/Pong_run_1-recollected:1.1.0"
environment = "Pong"
split = "checkpoint_00"
"""


def test_a_recipe_of_ones_own_is_reported_without_columns_for_what_nobody_reported(
    data_dir, tmp_path
):
    (tmp_path / "own.toml").write_text(OWN)
    page = reproduce(str(tmp_path / "own.toml"), data_dir=data_dir, runs_dir=tmp_path / "runs")
    text = page.with_suffix(".md").read_text()
    (header,) = [line for line in text.splitlines() if line.startswith("| row | measured")]
    assert header == "| row | measured on this project's own data | status |"
    assert "Pong on the ROM of ale-py 0.12.1, sticky actions 0.25, random actions 0.001" in text
    splits = json.loads((data_dir / PONG.data.version_path / "MANIFEST.json").read_text())["splits"]
    every = sum(split["transitions"] for split in splits.values())
    (whole,) = [line for line in text.splitlines() if line.startswith("| Pong, all | `")]
    assert f"| {every:,} |" in whole
    assert "{returns}" not in text


def test_returns_of_several_splits_are_those_of_all_their_episodes():
    of = [np.array([1.0, 2.0, 9.0]), np.array([4.0]), np.array([-3.0, 5.0])]
    splits = [manifest.statistics([10] * len(returns), list(returns)) for returns in of]
    together = results_folder._together(splits)
    every = np.concatenate(of)
    assert (together["episodes"], together["transitions"]) == (6, 60)
    assert together["episode_return"]["mean"] == pytest.approx(every.mean())
    assert together["episode_return"]["standard_deviation"] == pytest.approx(every.std())
    assert "raw_return" not in together


def test_a_log_that_was_replayed_tells_its_agents_score_in_the_games_own_points(tmp_path):
    """By hand: raw returns of 100 and 300 in one split, of one episode of two 800 in the other."""
    splits = {}
    for name, returns, raw in (("a", [1.0, 3.0], [100.0, 300.0]), ("b", [2.0, 2.0], [800.0])):
        splits[name] = {
            **manifest.statistics([10, 10], returns),
            "flags": {"raw_return_is_known": len(raw)},
            "raw_return": manifest.of_returns(raw),
        }
    version_folders.write(tmp_path / "dqn_replay" / "Pong_run_1-replayed" / "1.0.0")
    version = tmp_path / "dqn_replay" / "Pong_run_1-replayed" / "1.0.0"
    plan = manifest.read(version)[0]["plan"]
    files = {f"dqn_replay-{name}.tfrecord-0": {"size": 999, "sha256": ""} for name in splits}
    manifest.write(version, manifest.make(plan, splits, files, counted={}, skipped={}))
    opened = Version.open(version)
    row = Row.of("Pong", "dqn_replay/Pong_run_1-replayed:1.0.0", "Pong")
    text = report_text._data({"all": results_folder.describe(changed(row, split="all"), opened)})
    assert "| 4 | 40 | 400 ± 294, raw |" in text
    text = report_text._data({"a": results_folder.describe(changed(row, split="a"), opened)})
    assert "| 2 | 20 | 200 ± 100, raw |" in text


def test_rl_unplugged_trains_by_its_episodes_and_not_by_its_shuffled_transitions(tmp_path):
    for family, make in (
        (rl_unplugged.EPISODES, lambda seed: rl_unplugged_files.episode(seed, 6)),
        (rl_unplugged.TRANSITIONS, rl_unplugged_files.transition),
    ):
        shard = tmp_path / "bucket" / family / "Asterix" / "run_1-00000-of-00001"
        rl_unplugged_files.write(shard, [make(seed) for seed in range(4)])
    rows = []
    for config in ("Asterix_run_1", "Asterix_run_1_transitions"):
        source = str(tmp_path / "bucket")
        publish(RlUnplugged(config=config, source=source, data_dir=tmp_path / "data"))
        rows.append(Row.of("row", f"rl_unplugged_atari/{config}:2.0.0", "Asterix"))
    (line,) = run(tmp_path / "data", tmp_path / "runs", dataclasses.replace(SHORT, rows=(rows[0],)))
    assert (line["rom_set"], line["sticky_probability"]) == ("atari-py 0.2.5", 0.25)
    assert "reading" not in line
    with pytest.raises(DatasetError, match="transitions that no episode can be made of"):
        run(tmp_path / "data", tmp_path / "none", dataclasses.replace(SHORT, rows=(rows[1],)))
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def unplugged(tmp_path_factory):
    """A published run of RL Unplugged, and of the same data version 1.0.0."""
    folder = tmp_path_factory.mktemp("unplugged")
    shard = folder / "bucket" / rl_unplugged.EPISODES / "Asterix" / "run_1-00000-of-00001"
    rl_unplugged_files.write(shard, [rl_unplugged_files.episode(seed, 6) for seed in range(4)])
    shutil.copytree(VERSION_1, folder / "data")
    builder = RlUnplugged(
        config="Asterix_run_1", source=str(folder / "bucket"), data_dir=folder / "data"
    )
    publish(builder)
    return folder / "data"


AS_STORED = Row.of(
    "row", "rl_unplugged_atari/Asterix_run_1:2.0.0", "Asterix", reading="as_stored", n_step=2
)


@pytest.mark.parametrize("feed", ["arrays", "stream", "reverb"])
def test_rewards_are_read_as_stored_where_a_row_says_so(unplugged, tmp_path, feed):
    recipe = dataclasses.replace(SHORT, rows=(AS_STORED,))
    (line,) = run(unplugged, tmp_path, recipe, feed=feed)
    assert line["reading"] == "as_stored"
    task = choice.task_of(recipe.of(AS_STORED), AS_STORED, unplugged)
    assert task.cut.reward_field == "stored_reward"
    rows = task.transitions().rows
    stored = rows["extras/stored_reward"].reshape(4, 6)
    gamma = task.cut.gamma
    two = stored + gamma * np.append(stored[:, 1:], np.zeros((4, 1)), axis=1)
    np.testing.assert_allclose(rows["reward"].reshape(4, 6), two, rtol=1e-6)
    corrected = changed(AS_STORED, reading="corrected")
    with pytest.raises(DatasetError, match="holds a run whose reading"):
        run(unplugged, tmp_path, dataclasses.replace(RECIPE, rows=(corrected,)), feed=feed)


def test_rewards_as_stored_are_refused_where_there_are_none(unplugged, data_dir, tmp_path):
    first = changed(AS_STORED, dataset="rl_unplugged_atari/Asterix_run_1:1.0.0")
    for folder, row in (
        (unplugged, first),
        (data_dir, changed(PONG, reading="as_stored")),
    ):
        with pytest.raises(DatasetError, match="does not have their field, stored_reward: name a"):
            run(folder, tmp_path, dataclasses.replace(SHORT, rows=(row,)))
    other = dataclasses.replace(SHORT, rows=(changed(PONG, reading=QLEARNING_DATASET),))
    with pytest.raises(DatasetError, match="whose frames and rewards are as they are served"):
        run(data_dir, tmp_path, other)


def test_a_server_says_by_which_option_rewards_are_as_stored(unplugged, tmp_path):
    version = unplugged / AS_STORED.data.version_path
    recipe = dataclasses.replace(SHORT, rows=(changed(AS_STORED, n_step=1),))
    with (
        ReverbServer.from_published(version, "all", Cut(frame_stack=4)) as server,
        pytest.raises(DatasetError, match="--reward-field stored_reward"),
    ):
        run(unplugged, tmp_path, recipe, feed=server.address)


class TestFeeds:
    def test_the_stream_of_files_repeats_where_nothing_cuts_it(self, data_dir, tmp_path):
        first, second = (run(data_dir, tmp_path / n, SHORT, feed="stream") for n in "ab")
        assert measured(first) == measured(second)
        assert first[0]["feed"] == "stream"

    def test_nothing_is_streamed_from_a_shard_that_was_swapped(self, data_dir, tmp_path):
        copy = shutil.copytree(data_dir, tmp_path / "data")
        shard = min((copy / PONG.data.version_path).glob("*.tfrecord-*"))
        shard.write_bytes(shard.read_bytes()[::-1])
        with pytest.raises(DatasetError, match=f"{shard.name} is not what was published"):
            run(copy, tmp_path / "runs", SHORT, feed="stream")
        assert not any(p.read_text() for p in (tmp_path / "runs").rglob("results.jsonl"))

    def test_reverb(self, data_dir, tmp_path):
        (line,) = run(data_dir, tmp_path, SHORT, feed="reverb")
        assert line["feed"] == "reverb"

    def test_a_server_that_several_share_must_cut_as_the_row_asks(self, data_dir, tmp_path):
        version = data_dir / PONG.data.version_path
        with ReverbServer.from_published(version, "all", Cut(frame_stack=4)) as server:
            (line,) = run(data_dir, tmp_path / "same", SHORT, feed=server.address)
            assert line["feed"] == "reverb"
            several = dataclasses.replace(SHORT, rows=(changed(PONG, n_step=3),))
            with pytest.raises(DatasetError, match=r"--split all --frame-stack 4 --n-step 3 --ga"):
                run(data_dir, tmp_path / "steps", several, feed=server.address)
        with (
            ReverbServer.from_published(version, "checkpoint_00", Cut(frame_stack=4)) as server,
            pytest.raises(DatasetError, match=r"cuts .* otherwise than the row"),
        ):
            run(data_dir, tmp_path / "split", SHORT, feed=server.address)

    def test_more_frames_than_memory_are_refused(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setattr(atari, "_memory", lambda: 1_000_000)
        atari._windows.cache_clear()
        with pytest.raises(DatasetError, match=r"this machine has 0: .* use the feed stream"):
            run(data_dir, tmp_path)
        assert run(data_dir, tmp_path / "stream", SHORT, feed="stream")


class TestSeedsAtOnce:
    def test_are_refused_on_a_cpu_before_anything_is_trained(self, data_dir, tmp_path):
        with pytest.raises(DatasetError, match="accelerator alone, where it pays: leave out"):
            run(data_dir, tmp_path, seeds=(0, 1), seeds_at_once=2)
        assert not list(tmp_path.iterdir())

    def test_learn_on_an_accelerator_what_each_learns_alone(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        entry = dataclasses.replace(LEARNERS["dqn"], make=MAKE[dqn].__wrapped__)
        monkeypatch.setitem(LEARNERS, "dqn", entry)
        atari._windows.cache_clear()
        (together,) = run(data_dir, tmp_path / "both", SHORT, seeds=(1, 0), seeds_at_once=2)
        (alone,) = run(data_dir, tmp_path / "alone", SHORT, seeds=(1,))
        atari._windows.cache_clear()
        assert together["seed"] == alone["seed"] == 1
        assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-3)


class TestRoms:
    """A dataset's scores are measured on the ROMs that its lineage names, or not at all."""

    RECIPE = dataclasses.replace(RECIPE, rows=(INVADERS,), steps=4)

    def refused(self, data_dir, tmp_path, message, recipe=RECIPE):
        def progress(cell, step):
            pytest.fail("it trained before it refused")

        with pytest.raises(DatasetError, match=message):
            run(data_dir, tmp_path / "runs", recipe, progress=progress)
        assert not (tmp_path / "runs").exists()

    def test_the_old_ones_must_be_installed(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
        # Pong comes first, but is not trained only to be told of the other in the end.
        self.refused(
            data_dir,
            tmp_path,
            r"SpaceInvaders_run_1-recollected:1\.1\.0 in SpaceInvaders: .* atari-py 0\.2\.5, is "
            r"not installed: run `rl-datasets roms --install --accept`",
            dataclasses.replace(RECIPE, rows=(PONG, INVADERS)),
        )

    def test_the_old_ones_are_played_where_they_are_installed(self, data_dir, tmp_path, legacy_rom):
        rom = legacy_rom("SpaceInvaders")
        (line,) = run(data_dir, tmp_path, self.RECIPE)
        assert (line["rom_set"], line["rom_md5"]) == (
            "atari-py 0.2.5",
            "61dbe94f110f30ca4ec524ae5ce2d026",
        )
        task = choice.task_of(self.RECIPE, INVADERS, data_dir)
        assert hashlib.md5(task.rom.read_bytes()).hexdigest() == line["rom_md5"]
        assert task.rom == rom

    @pytest.mark.parametrize(
        ("log", "message"),
        [
            ({}, "lineage names no ROMs, so no score could be compared"),
            ({"rom_set": "stella 1.0"}, "lineage names the ROMs 'stella 1.0'"),
            (
                {"rom_set": "ale-py 0.12.1", "sticky_probability": None},
                "sticky actions of probability None, by its lineage",
            ),
        ],
    )
    def test_a_lineage_that_does_not_say_is_refused(self, tmp_path, log, message):
        publish_run(log_by_hand(tmp_path / "logs", **log), tmp_path / "data")
        self.refused(tmp_path / "data", tmp_path, message)

    def test_another_game_is_refused(self, data_dir, tmp_path):
        row = changed(PONG, environment="Asterix")
        self.refused(
            data_dir,
            tmp_path,
            "is of the game Pong .* environment is Asterix: name the game",
            dataclasses.replace(RECIPE, rows=(row,)),
        )

    def test_a_learner_of_vectors_is_refused(self, data_dir, tmp_path):
        recipe = dataclasses.replace(RECIPE, learner="td3_bc")
        self.refused(data_dir, tmp_path, "td3_bc is made for a Spec, and Pong", recipe)

    def test_a_learner_that_does_not_discount_is_trained_on_single_rewards(
        self, data_dir, monkeypatch
    ):
        """Cloning of games, say, has a config without a discount."""
        monkeypatch.setattr(Recipe, "entry", lambda self: CLONING)
        task = choice.task_of(RECIPE, PONG, data_dir)
        assert (task.cut.n_step, task.cut.gamma) == (1, 1.0)
        with pytest.raises(DatasetError, match="learner dqn does not discount rewards: leave it"):
            choice.task_of(RECIPE, changed(PONG, n_step=3), data_dir)

    def test_a_learner_that_reads_more_than_games_have_is_refused(
        self, data_dir, tmp_path, monkeypatch
    ):
        reader = dataclasses.replace(LEARNERS["dqn"], extras=lambda config: ("next_action",))
        monkeypatch.setitem(LEARNERS, "dqn", reader)
        with pytest.raises(DatasetError, match="dqn reads the next_action of a transition, which"):
            run(data_dir, tmp_path)
        with pytest.raises(DatasetError, match="dqn reads the next_action of a transition, which"):
            preparation.check(plan(RECIPE, seeds=(0,)), Places(data_dir, tmp_path))

    def test_what_can_be_run_passes_the_check(self, data_dir, tmp_path):
        preparation.check(plan(RECIPE, seeds=(0,)), Places(data_dir, tmp_path))

    def test_gymnasiums_own_game_is_refused(self, data_dir, tmp_path):
        row = changed(PONG, environment="CartPole-v1", in_another_environment=True)
        with pytest.raises(DatasetError, match=r"numbered actions, .* such as Pong"):
            run(data_dir, tmp_path, dataclasses.replace(RECIPE, rows=(row,), learner="bc"))


# A learner of games without a discount, as far as a task looks at it.
CLONING = dataclasses.replace(
    LEARNERS["dqn"], config=dataclasses.make_dataclass("Config", [("learning_rate", float, 1e-3)])
)
