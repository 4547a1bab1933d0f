"""Logs made here, replayed and published through the command line, against what was played."""

import json
import signal
import time

import ale_py
import numpy as np
import pytest

from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder
from rl_datasets.errors import DatasetError
from rl_datasets.published import croissant, manifest
from rl_datasets.published.version import Version
from rl_datasets.replaying.episodes import Replayer
from rl_datasets.replaying.publishing import ReplayedBuilder
from rl_datasets.replaying.source import of_builder
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows
from tests.command_line import COMMAND, end, start
from tests.dataset_contract import DatasetContract
from tests.rl_datasets.replaying.logs import GAME, ROM, play, write_dopamine_log, write_shards

DATASET = "rl_unplugged_atari/Asterix_run_1"
OF_SHARDS = f"{DATASET}-replayed"
OF_LOG = "dqn_replay/Asterix_run_1-recollected-replayed"


@pytest.fixture(scope="module")
def played():
    """Four games that end, and the beginning of one."""
    return play(5)


@pytest.fixture(scope="module")
def log(tmp_path_factory, played):
    """Of four checkpoints, across which episodes run."""
    return write_dopamine_log(tmp_path_factory.mktemp("logs") / GAME / "1", played)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, played):
    return write_shards(tmp_path_factory.mktemp("shards"), played)


@pytest.fixture(scope="module")
def of_log(tmp_path_factory, log):
    """The log replayed by the command, in a process of its own."""
    folder = tmp_path_factory.mktemp("replayed")
    outcome = end(start([COMMAND, "replay", str(log), "--data-dir", "data"], folder))
    assert outcome.status == 0, outcome.stderr
    return outcome, folder / "data" / OF_LOG / "1.0.0"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def check(episodes, played, is_proved=False):
    """Everything that was played is there, and nothing that was not.

    The log of a cut episode ends in its last row's frame, whose action is in no dataset.
    """
    assert len(episodes) == len(played)
    for found, truth in zip(episodes, played, strict=True):
        length = len(truth.action) - (not truth.is_terminal)
        raw, clipped = truth.reward[:length], np.clip(truth.reward[:length], -1, 1)
        # Of a game that ended, the last observation needs a proof, and is a frame of zeros without.
        is_known = not truth.is_terminal or found.metadata["raw_return_is_only"] != -1
        assert found.metadata["final_observation_is_known"] == is_known
        seen = truth.observation[: length + 1].copy()
        seen[-1] *= is_known
        np.testing.assert_array_equal(found.observation, seen)
        np.testing.assert_array_equal(found.action[:-1], truth.action[:length])
        np.testing.assert_array_equal(found.reward, [*clipped, 0])
        np.testing.assert_array_equal(found.extras["raw_reward"], [*raw, 0])
        np.testing.assert_array_equal(
            found.extras["raw_reward_is_known"], np.arange(length + 1) < length
        )
        assert found.is_terminal[-1] == truth.is_terminal
        assert found.extras["lives"][0] == 3
        assert found.extras["lives"][-1] == (0 if truth.is_terminal else found.extras["lives"][-2])
        lost = found.extras["lives_lost"]
        assert (lost[:-1] >= 0).all()
        assert lost[:-1].sum() == 3 - found.extras["lives"][-1]
        if not is_proved:
            check_executed(found, raw)
        told = found.metadata
        assert told["replayed_whole"]
        assert told["replayed_rows"] == length + (not truth.is_terminal)
        assert (told["raw_return"], told["raw_return_is_known"]) == (raw.sum(), True)
        assert told["why_not_whole"] == ""
        assert told["episode_return"] == clipped.sum()


def check_executed(episode, rewards):
    """A frame keeps the action before or takes the new one; and so the game gives the rewards."""
    game = ale_py.ALEInterface()
    game.setFloat("repeat_action_probability", 0)
    game.loadROM(ale_py.roms.get_rom_path(ROM))
    actions, kept = game.getMinimalActionSet(), 0
    steps = zip(episode.action, episode.extras["executed_actions"], rewards, strict=False)
    for row, (asked, executed, reward) in enumerate(steps):
        if row == len(rewards) - 1 and -1 in executed:
            return  # Several outcomes of the action that ends the game agree with the log.
        earned = 0
        for action in executed:
            assert action in (asked, kept)
            kept = action
            earned += game.act(actions[action])
        assert earned == reward


def test_a_log_is_replayed_whole(of_log, played):
    outcome, version = of_log
    check(list(Version.open(version).episodes("all")), played)
    assert "5 episodes: 5 replayed whole, 0 in part and 0 not at all" in outcome.stdout
    raw = load_frame_windows(version, "all", Cut(reward_field="raw_reward")).rows["reward"]
    np.testing.assert_array_equal(raw, np.concatenate([each.reward for each in played])[:-1])


def test_shards_are_replayed_whole_and_their_rewards_aligned(run, shards, played, tmp_path):
    outcome = run("replay", shards, "--dataset", DATASET, "--data-dir", tmp_path)
    assert outcome.status == 0, outcome.stderr
    version = tmp_path / OF_SHARDS / "1.0.0"
    check(list(Version.open(version).episodes("all")), [*played[::2], *played[1::2]])


def test_a_published_version_gives_the_same_episodes(run, log, of_log, tmp_path):
    assert run("publish", "dqn_replay", log, "--data-dir", tmp_path).status == 0
    outcome = run("replay", "dqn_replay/Asterix_run_1-recollected", "--data-dir", tmp_path)
    assert outcome.status == 0, outcome.stderr
    ours, theirs = contents(tmp_path / OF_LOG / "1.0.0"), contents(of_log[1])
    told = json.loads(ours.pop(manifest.FILE_NAME))["plan"]
    assert told["lineage"]["source"] == "dqn_replay/Asterix_run_1-recollected:1.1.0"
    source = tmp_path / "dqn_replay" / "Asterix_run_1-recollected" / "1.1.0"
    assert told["lineage"]["source_manifest_sha256"] == told["sources"][manifest.FILE_NAME]
    assert told["sources"].keys() == {manifest.FILE_NAME, *(p.name for p in source.glob("*.tf*"))}
    assert all(unit["transitions"] for unit in told["units"])
    for names_the_source in (manifest.FILE_NAME, croissant.FILE_NAME):
        theirs.pop(names_the_source)
        ours.pop(names_the_source, None)
    assert ours == theirs


def test_two_processes_write_the_same_bytes(of_log, log, tmp_path):
    command = [COMMAND, "replay", str(log), "--data-dir", "data", "--workers", "2"]
    outcome = end(start(command, tmp_path))
    assert outcome.status == 0, outcome.stderr
    assert contents(tmp_path / "data" / OF_LOG / "1.0.0") == contents(of_log[1])


def test_a_replay_that_was_killed_goes_on_from_the_files_that_are_whole(of_log, log, tmp_path):
    command = [COMMAND, "replay", str(log), "--data-dir", "data"]
    process = start(command, tmp_path)
    receipts = tmp_path / "data" / OF_LOG / "1.0.0.staging" / "receipts"
    deadline = time.monotonic() + 120
    while not list(receipts.glob("*.json")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    whole = {path: path.stat().st_mtime_ns for path in receipts.glob("*.json")}
    shards = len(list(of_log[1].glob("*.tfrecord-*")))
    assert 0 < len(whole) < shards
    assert not (tmp_path / "data" / OF_LOG / "1.0.0").exists()
    process = start(command, tmp_path)
    assert end(process).status == 0
    assert contents(tmp_path / "data" / OF_LOG / "1.0.0") == contents(of_log[1])


def test_an_altered_frame_is_marked_at_its_row_and_the_episode_kept(run, played, tmp_path):
    row, altered = 100, played[1].observation.copy()
    altered[row, 40, 40] ^= 1
    games = [played[0], played[1]._replace(observation=altered), played[2]]
    write_shards(tmp_path / "shards", games, shards=1)
    outcome = run("replay", tmp_path / "shards", "--dataset", DATASET, "--data-dir", tmp_path)
    assert "3 episodes: 2 replayed whole, 1 in part and 0 not at all" in outcome.stdout
    version = tmp_path / OF_SHARDS / "1.0.0"
    first, lost, last = Version.open(version).episodes("all")
    check([first, last], [games[0], games[2]])
    assert not lost.metadata["replayed_whole"]
    assert lost.metadata["replayed_in_part"]
    assert lost.metadata["replayed_rows"] == row
    assert f"row {row}'s frame" in lost.metadata["why_not_whole"]
    assert lost.metadata["final_observation_is_known"] == 0
    assert (lost.metadata["raw_return"], lost.metadata["raw_return_is_known"]) == (0, False)
    stored = [0, *np.clip(games[1].reward[1:], -1, 1), 0]
    np.testing.assert_array_equal(lost.reward, stored)
    np.testing.assert_array_equal(lost.observation[:-1], altered[:-1])
    assert not np.any(lost.observation[-1])
    assert not np.any(lost.extras["raw_reward"])
    assert not np.any(lost.extras["raw_reward_is_known"])
    for name in ("lives", "lives_lost", "executed_actions"):
        assert np.all(lost.extras[name] == -1), name
    split = manifest.read(version)[0]["splits"]["checkpoint_00"]
    scores = [games[0].reward.sum(), games[2].reward[:-1].sum()]
    assert split["raw_return"]["mean"] == np.mean(scores)
    assert (split["raw_return"]["min"], split["raw_return"]["max"]) == (min(scores), max(scores))
    with pytest.raises(DatasetError, match="where 'raw_reward_is_known' is False"):
        load_frame_windows(version, "all", Cut(reward_field="raw_reward"))
    flags = split["flags"]
    assert flags["replayed_whole"] == flags["raw_return_is_known"] == 2
    assert flags["replayed_in_part"] == 1
    shown = run("show", OF_SHARDS, "--data-dir", tmp_path).stdout
    assert "replayed whole: 2 episodes" in shown
    assert f"{np.mean(scores):,.1f} ± " in shown


def test_real_episodes(run, shared, tmp_path):
    source = shared / "rl_unplugged"
    outcome = run("replay", source, "--dataset", DATASET, "--data-dir", tmp_path)
    assert "2 episodes: 2 replayed whole" in outcome.stdout
    version = tmp_path / OF_SHARDS / "1.0.0"
    episodes = list(Version.open(version).episodes("all"))
    stored = reader_of_shard(source)
    for episode, (observation, reward) in zip(episodes, stored, strict=True):
        assert episode.observation.pngs[:-1] == observation.pngs[:-1]
        # Stored a row early, and the last row's is nobody's.
        np.testing.assert_array_equal(episode.reward[1:-1], reward[:-2])
        np.testing.assert_array_equal(
            episode.reward[:-1], np.clip(episode.extras["raw_reward"][:-1], -1, 1)
        )
        assert not np.any(episode.observation[-1])
        assert not episode.metadata["final_observation_is_known"]
        assert episode.metadata["raw_return"] == episode.extras["raw_reward"].sum()


def reader_of_shard(source):
    from rl_datasets.sources import rl_unplugged

    (shard,) = rl_unplugged.find_shards(source, GAME, 1)
    episodes = rl_unplugged.read_episodes(shard, 0)
    return [(each.observation, each.extras["stored_reward"]) for each in episodes]


def test_a_return_is_proved_to_be_the_only_one_if_that_is_asked_for(run, tmp_path):
    games = play(1, last_rows=40)
    write_shards(tmp_path / "shards", games, shards=1)
    run("replay", tmp_path / "shards", "--dataset", DATASET, "--data-dir", tmp_path, "--prove")
    version = tmp_path / f"{OF_SHARDS}-proved" / "1.0.0"
    episodes = list(Version.open(version).episodes("all"))
    check(episodes, games, is_proved=True)
    assert episodes[0].metadata["raw_return_is_only"] == 1
    executed = episodes[0].extras["executed_actions"][:-1]
    assert set(np.unique(executed)) - {-1} == set(np.unique(games[0].action[:-1])) | {0}


class TestWithMemory(DatasetContract):
    """RAM and screens too, held to the contract of every dataset here."""

    split = "checkpoint_00"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _source(cls, tmp_path_factory):
        cls.games = play(2, last_rows=40)
        folder = tmp_path_factory.mktemp("shards")
        shards = write_shards(folder, cls.games, shards=1)
        cls.source = of_builder(
            Builder(config="Asterix_run_1", source=str(shards), data_dir=folder)
        )
        cls.replayer = Replayer(cls.source.roms(), ram=True, screens=True)
        (unit,) = cls.source.units
        cls.replayed = list(cls.replayer.replay_all(cls.source.stored(unit)()))

    def make_builder(self, folder):
        return ReplayedBuilder(of=self.source, replayer=self.replayer, data_dir=str(folder))

    def episodes(self):
        return self.replayed

    def test_it_is_what_was_played(self, published):
        episodes = list(Version.open(published.path).episodes(self.split))
        check(episodes, self.games)
        assert published.path.parent.name == "Asterix_run_1-replayed-ram-screens"
        for episode in episodes:
            screens, ram = np.asarray(episode.extras["screen"]), episode.extras["ram"]
            game = ale_py.ALEInterface()
            game.setFloat("repeat_action_probability", 0)
            game.loadROM(ale_py.roms.get_rom_path(ROM))
            actions = game.getMinimalActionSet()
            for row, executed in enumerate(episode.extras["executed_actions"]):
                np.testing.assert_array_equal(screens[row], game.getScreenRGB())
                np.testing.assert_array_equal(ram[row], game.getRAM())
                if -1 in executed:  # The game is over, or several outcomes agree with the log.
                    assert row >= len(screens) - 2
                    break
                for action in executed:
                    game.act(actions[action])
            assert np.any(screens[-1])
            assert np.any(ram[-1])
