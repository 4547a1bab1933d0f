"""`dqn_replay`: runs in Dopamine's layout, found, published and read by plain TFDS."""

import hashlib
import json
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.rl_unplugged.rlu_atari_checkpoints import rlu_atari_checkpoints

from builders.dqn_replay.dqn_replay_dataset_builder import Builder
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from tests.rl_datasets.sources import dopamine_files

# Checkpoints 0 to 2; episodes begin in rows 3, 16, 32 and 43 of the run, and the last is cut.
LENGTHS = (10, 13, 8, 20)
CAPACITY = 30
LOG = {
    "game": "Qbert",
    "run": 1,
    "time_limit": 20,
    "agent": "random",
    "rom_set": "ale-py 0.12.1",
    "sticky_probability": 0.5,
    "seed": 3,
}


def frame_of(number):
    return np.full((84, 84), number, np.uint8)


def write_run(folder):
    """Steps are numbered from 1; a frame is filled with its step's number."""
    number = 0
    with ReplayLog(folder / "replay_logs", CAPACITY) as log:
        for index, length in enumerate(LENGTHS):
            for row in range(length):
                number += 1
                is_end = row == length - 1 and index < len(LENGTHS) - 1
                log.add(frame_of(number), number % 6, number % 3 - 1, is_end)
    return str(folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root with two runs as DQN Replay's bucket lays them out, and one that was logged here."""
    root = tmp_path_factory.mktemp("root")
    for name in ("Pong/1", "Pong/2", "Qbert/1"):
        write_run(root / name)
    (root / "Qbert" / "1" / "log.json").write_text(json.dumps(LOG))
    return root


@pytest.fixture(scope="module")
def published(root, tmp_path_factory):
    builder = Builder(
        config="Pong_run_1", source=str(root), data_dir=tmp_path_factory.mktemp("data")
    )
    return publish(builder)


class TestPublished:
    def test_a_split_is_a_checkpoint_whose_episodes_begin_in_it(self, published):
        splits = published.manifest["splits"]
        assert {name: split["episodes"] for name, split in splits.items()} == {
            "checkpoint_00": 2,
            "checkpoint_01": 2,
        }
        # The second episode runs on into checkpoint 1; the last is cut at the end of the log.
        assert splits["checkpoint_00"]["transitions"] == 10 + 13
        assert splits["checkpoint_01"]["transitions"] == 8 + 19

    @pytest.mark.tensorflow
    def test_plain_tfds_reads_every_frame(self, published):
        number = 0
        dataset = tfds.builder_from_directory(str(published.path)).as_dataset()
        episodes = [
            (name, episode)
            for name in ("checkpoint_00", "checkpoint_01")
            for episode in tfds.as_numpy(dataset[name])
        ]
        for (name, episode), length in zip(episodes, LENGTHS, strict=True):
            steps = list(episode["steps"])
            frames = [int(step["observation"][50, 50, 0]) for step in steps]
            numbers = list(range(number + 1, number + 1 + length))
            is_cut = length == LENGTHS[-1]
            assert frames == (numbers if is_cut else [*numbers, 0])
            assert all(np.ptp(step["observation"]) == 0 for step in steps)
            acted = numbers[:-1] if is_cut else numbers
            assert [step["action"] for step in steps] == [*(n % 6 for n in acted), 0]
            assert [step["reward"] for step in steps] == [*(n % 3 - 1 for n in acted), 0]
            assert [step["is_terminal"] for step in steps][-1] == (not is_cut)
            assert steps[-2]["discount"] == is_cut
            assert episode["checkpoint_id"] == int(name[-2:])
            assert episode["episode_return"] == sum(n % 3 - 1 for n in acted)
            number += length

    def test_the_manifest_says_what_the_data_are(self, published):
        lineage = published.manifest["plan"]["lineage"]
        assert (lineage["game"], lineage["run"]) == ("Pong", 1)
        assert (lineage["rom_set"], lineage["sticky_probability"]) == ("atari-py 0.2.5", 0.25)
        assert "clipped to [-1, 1]" in lineage["rewards"]
        assert "frame of zeros" in lineage["final_observation"]
        assert any("cut by a gap or by the end" in each for each in lineage["repaired"])
        sources = published.manifest["plan"]["sources"]
        assert sorted(sources) == sorted(
            f"{member}_ckpt.{number}.gz"
            for number in range(3)
            for member in (
                *("$store$_action", "$store$_observation", "$store$_reward", "$store$_terminal"),
                *(("add_count", "invalid_range") if number < 2 else ()),
            )
        )

    @pytest.mark.tensorflow
    def test_dopamines_own_log(self, shared, tmp_path):
        source = shared / "dopamine_logs" / "Pong_plain" / "1"
        with np.load(shared / "dopamine_logs" / "Pong_plain" / "truth.npz") as arrays:
            truth = dict(arrays)
        version = publish(Builder(config="Pong_run_1", source=str(source), data_dir=tmp_path))
        dataset = tfds.builder_from_directory(str(version.path)).as_dataset()
        steps = [
            step
            for name in sorted(dataset)
            for episode in tfds.as_numpy(dataset[name])
            for step in episode["steps"]
            if not step["is_last"]
        ]
        numbers = [step["observation"][0, :4, 0].copy().view("<i4")[0] for step in steps]
        np.testing.assert_array_equal(numbers, np.arange(1, len(truth["actions"]) + 1))
        np.testing.assert_array_equal([step["action"] for step in steps], truth["actions"])
        np.testing.assert_array_equal([step["reward"] for step in steps], truth["rewards"])


class TestNames:
    @pytest.mark.tensorflow
    def test_features_are_those_of_rlu_atari_checkpoints(self, published):
        ours = tfds.builder_from_directory(str(published.path)).info.features
        theirs = rlu_atari_checkpoints.atari_utils.features_dict()
        assert ours.get_tensor_spec() == theirs.get_tensor_spec()
        assert type(ours["steps"]["observation"]) is type(theirs["steps"]["observation"])

    def test_configurations_are_those_of_rlu_atari_checkpoints_and_more(self):
        ours = set(Builder.builder_configs)
        assert ours >= set(rlu_atari_checkpoints.RluAtariCheckpoints.builder_configs)
        assert len(ours) == 3 * 60 * 5
        assert {"MontezumaRevenge_run_5", "Pong_run_1-recollected", "Qbert_run_2-teacher"} <= ours


class TestSource:
    def builder(self, source, config="Pong_run_1"):
        return Builder(config=config, source=str(source), data_dir="nowhere")

    @pytest.mark.parametrize("place", [".", "Pong/1", "Pong/1/replay_logs"])
    def test_it_is_found_from_the_root_the_run_or_its_checkpoints(self, root, place):
        units = self.builder(root / place).source_units()
        folder = root / "Pong" / "1" / "replay_logs"
        assert units[0].files[0] == str(folder / "$store$_observation_ckpt.0.gz")

    def test_a_unit_can_travel_to_a_worker(self, root):
        for unit in self.builder(root).source_units():
            travelled = pickle.loads(pickle.dumps(unit))
            assert sum(each.num_transitions for each in travelled.read()) == unit.num_transitions

    @pytest.mark.parametrize(
        ("place", "config"), [("Pong/2", "Pong_run_2"), ("Qbert/1", "Qbert_run_1-recollected")]
    )
    def test_a_run_says_which_it_is(self, root, place, config):
        assert Builder.config_of(str(root / place)) == config

    def test_a_root_does_not_say_which_run(self, root, tmp_path):
        with pytest.raises(DatasetError, match="does not hold checkpoints"):
            Builder.config_of(str(root))
        with pytest.raises(DatasetError, match="name one, such as dqn_replay/Pong_run_1"):
            Builder.config_of(write_run(tmp_path / "mine"))

    def test_a_run_is_not_published_as_another(self, root):
        with pytest.raises(DatasetError, match="holds dqn_replay/Pong_run_2: publish it as that"):
            self.builder(root / "Pong" / "2").episode_spec()
        with pytest.raises(DatasetError, match="holds dqn_replay/Qbert_run_1-recollected"):
            self.builder(root, "Qbert_run_1").episode_spec()
        with pytest.raises(DatasetError, match="holds dqn_replay/Pong_run_1"):
            self.builder(root, "Pong_run_1-recollected").episode_spec()
        with pytest.raises(DatasetError, match="mine names no run"):
            self.builder(root, "mine").episode_spec()

    def test_a_logged_run_says_what_it_was(self, root):
        builder = self.builder(root, "Qbert_run_1-recollected")
        lineage = builder.lineage()
        assert (lineage["agent"], lineage["rom_set"]) == ("random", "ale-py 0.12.1")
        assert (lineage["sticky_probability"], lineage["seed"]) == (0.5, 3)
        # Its time limit is 20 rows, and so many has its last episode.
        assert "reached the time limit" in lineage["repaired"][1]

    def test_actions_are_the_games(self, root, tmp_path):
        assert self.builder(root).episode_spec().action.maximum == 5
        unknown = self.builder(write_run(tmp_path / "Tetris" / "7"), "Tetris_run_7")
        assert unknown.episode_spec().action.maximum == 17

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("gs://atari-replay-datasets/dqn", "gs://atari-replay-datasets/dqn is not a folder"),
            ("/nowhere", "/nowhere/Pong/1/replay_logs does not hold checkpoints"),
        ],
    )
    def test_what_is_missing_is_said_with_the_alternatives(self, source, told):
        with pytest.raises(DatasetError) as raised:
            self.builder(source).source_units()
        assert told in str(raised.value)
        assert "name a local copy of DQN Replay's <Game>/<run>, a bucket that is" in str(
            raised.value
        )
        assert "or a run that `rl-datasets log-game` logged" in str(raised.value)

    def test_a_logged_run_may_lie_anywhere(self, tmp_path):
        source = write_run(tmp_path / "mine")
        (tmp_path / "mine" / "log.json").write_text(json.dumps(LOG))
        assert Builder.config_of(source) == "Qbert_run_1-recollected"

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", json.dumps({**LOG, "run": "1"}), json.dumps({**LOG, "game": 2})]
    )
    def test_a_damaged_log_file_is_named(self, tmp_path, content):
        source = write_run(tmp_path / "Pong" / "1")
        (tmp_path / "Pong" / "1" / "log.json").write_text(content)
        with pytest.raises(DatasetError, match=r"log\.json cannot be read"):
            Builder.config_of(source)

    def test_a_run_that_goes_on_is_refused(self, tmp_path):
        source = write_run(tmp_path / "Pong" / "1")
        (tmp_path / "Pong" / "1" / "training").mkdir()
        with pytest.raises(DatasetError, match="holds a run that is not finished"):
            self.builder(source).episode_spec()


class TestBadCheckpoint:
    @pytest.fixture
    def source(self, tmp_path):
        source = write_run(tmp_path / "Pong" / "1")
        (tmp_path / "Pong" / "1" / "replay_logs" / "$store$_action_ckpt.0.gz").unlink()
        return source

    def test_it_is_named_and_nothing_is_published(self, source, tmp_path):
        builder = Builder(config="Pong_run_1", source=source, data_dir=tmp_path / "data")
        with pytest.raises(DatasetError, match=r"\$store\$_action_ckpt\.0\.gz cannot be read"):
            publish(builder)
        assert not (tmp_path / "data" / "dqn_replay" / "Pong_run_1" / "1.1.0").exists()

    def test_the_rest_can_be_published_without_it(self, source, tmp_path):
        builder = Builder(config="Pong_run_1", source=source, data_dir=tmp_path / "data")
        version = publish(builder, keep_going=True)
        assert list(version.manifest["splits"]) == ["checkpoint_01"]
        assert list(version.manifest["skipped"]) == ["checkpoint_00"]
        assert "$store$_action_ckpt.0.gz" in str(version.manifest["skipped"]["checkpoint_00"])
        # Nothing says any more that an episode begins with the first rows of checkpoint 1.
        assert version.manifest["splits"]["checkpoint_01"]["episodes"] == 1
        assert "its first 11 rows" in version.manifest["plan"]["lineage"]["repaired"][0]


class TestTeacher:
    """The replay buffer beside a checkpoint that Dopamine saved."""

    NAME = "Pong_run_1-teacher"

    @pytest.fixture
    def run(self, tmp_path):
        run = tmp_path / "bucket" / "Pong" / "1"
        dopamine_files.write_saved(run)
        return run

    @pytest.mark.tensorflow
    def test_it_is_published_from_its_oldest_row_on(self, run, tmp_path):
        version = publish(Builder(config=self.NAME, source=str(run), data_dir=tmp_path))
        dataset = tfds.builder_from_directory(str(version.path)).as_dataset()
        (episodes,) = (list(tfds.as_numpy(split)) for split in dataset.values())
        assert list(dataset) == ["checkpoint_399"]
        # The first was ended by a time limit and lost its last row; two games are over.
        expected = [(57, 72, False), (74, 95, True), (96, 101, True)]
        for episode, (first, last, is_terminal) in zip(episodes, expected, strict=True):
            steps = list(episode["steps"])
            numbers = [int(step["observation"][0, :4, 0].copy().view("<i4")[0]) for step in steps]
            assert numbers == [*range(first, last + 1), 0 if is_terminal else last + 1]
            assert [step["action"] for step in steps[:-1]] == [n % 6 for n in numbers[:-1]]
            assert [step["reward"] for step in steps[:-1]] == [n % 3 - 1 for n in numbers[:-1]]
            assert [step["is_first"] for step in steps] == [True] + [False] * (len(steps) - 1)
            assert [step["is_last"] for step in steps] == [False] * (len(steps) - 1) + [True]
            assert steps[-1]["is_terminal"] == is_terminal
            assert steps[-2]["discount"] == (not is_terminal)
            assert episode["checkpoint_id"] == 399

    def test_its_manifest_names_the_agent(self, run, tmp_path):
        version = publish(Builder(config=self.NAME, source=str(run), data_dir=tmp_path))
        plan = version.manifest["plan"]
        assert plan["lineage"] == {
            "source": "the replay buffer of an agent of Dopamine, in Dopamine's layout",
            "game": "Pong",
            "run": 1,
            "agent": "dqn",
            "rom_set": "atari-py 0.2.5",
            "sticky_probability": 0.25,
            "checkpoint": 399,
            "agent_sha256": hashlib.sha256(dopamine_files.saved()["ckpt.399"]).hexdigest(),
            "assumed": ["rom_set", "sticky_probability"],
            "rewards": "clipped to [-1, 1] when they were logged",
            "final_observation": plan["lineage"]["final_observation"],
            "repaired": plan["lineage"]["repaired"],
        }
        assert "its oldest 6 rows" in plan["lineage"]["repaired"][0]
        assert "episode_end_indices_ckpt.399.gz" in plan["sources"]

    def test_a_description_beside_the_checkpoints_says_more(self, run, tmp_path):
        log = {**LOG, "game": "Pong", "time_limit": 22}
        (run / "log.json").write_text(json.dumps(log))
        lineage = Builder(config=self.NAME, source=str(run), data_dir=tmp_path).lineage()
        assert (lineage["rom_set"], lineage["sticky_probability"]) == ("ale-py 0.12.1", 0.5)
        assert "assumed" not in lineage
        # An episode of 22 rows is now taken to have reached the limit.
        assert "1 episodes of exactly 22 rows" in lineage["repaired"][2]

    @pytest.mark.parametrize(
        "place", ["Pong/1", "Pong/1/checkpoints", "Pong/1/checkpoints/ckpt.399"]
    )
    def test_a_run_says_that_it_is_a_teachers(self, run, place):
        source = str(run.parents[1] / place)
        assert Builder.config_of(source) == self.NAME
        builder = Builder(config=self.NAME, source=source, data_dir="nowhere")
        assert builder.episode_spec().action.maximum == 5

    def test_a_root_of_many_runs(self, run):
        source = str(run.parents[1])
        builder = Builder(config=self.NAME, source=source, data_dir="nowhere")
        (unit,) = builder.source_units()
        assert unit.files[0] == str(run / "checkpoints" / "$store$_observation_ckpt.399.gz")

    def test_a_log_of_the_whole_run_comes_first(self, run):
        """But the replay buffer can be named."""
        write_run(run)
        assert Builder.config_of(str(run)) == "Pong_run_1"
        builder = Builder(config=self.NAME, source=str(run), data_dir="nowhere")
        assert builder.lineage()["checkpoint"] == 399

    def test_another_name_is_refused(self, run):
        with pytest.raises(DatasetError, match="holds dqn_replay/Pong_run_1-teacher: publish it"):
            Builder(config="Pong_run_2-teacher", source=str(run), data_dir="nowhere")

    def test_a_checkpoint_without_its_replay_buffer(self, tmp_path):
        run = tmp_path / "Pong" / "1"
        dopamine_files.write_checkpoint(run, {})
        builder = Builder(config=self.NAME, source=str(run), data_dir="nowhere")
        with pytest.raises(DatasetError, match="Reincarnating RL takes file 100 in their place"):
            builder.source_units()

    def test_a_bucket(self):
        source = "gs://rl_checkpoints/DQN_400/Pong/1"
        with pytest.raises(DatasetError, match="gs://rl_checkpoints/DQN_400/Pong/1 cannot be used"):
            Builder(config=self.NAME, source=source, data_dir="nowhere")
