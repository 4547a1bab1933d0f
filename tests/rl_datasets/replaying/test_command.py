"""What `rl-datasets replay` says of what it cannot replay, and of options that clash."""

import io

import numpy as np
import PIL.Image
import pytest

from rl_datasets import wire
from rl_datasets.episode import EpisodeSpec
from rl_datasets.frames import encode_png
from rl_datasets.published import manifest
from rl_datasets.published.version import Version
from rl_datasets.replaying.source import of_version
from rl_datasets.sources import rl_unplugged
from tests.rl_datasets.exporting import versions
from tests.rl_datasets.replaying.logs import GAME, example, play, write_dopamine_log, write_shards
from tests.rl_datasets.sources import rl_unplugged_files
from tests.rl_datasets.sources.fake_bucket import serving

DATASET = "rl_unplugged_atari/Asterix_run_1"


@pytest.fixture(scope="module")
def game():
    return play(1, last_rows=30)


def episodes(data_dir):
    return list(Version.open(data_dir / f"{DATASET}-replayed" / "1.0.0").episodes("all"))


def test_an_episode_whose_beginning_is_not_stored_is_kept_and_marked(run, tmp_path, game):
    (whole,) = game
    cut = whole._replace(
        observation=whole.observation[10:], action=whole.action[10:], reward=whole.reward[10:]
    )
    write_shards(tmp_path, [cut, whole], shards=1)
    outcome = run("replay", tmp_path, "--dataset", DATASET, "--data-dir", tmp_path)
    assert "2 episodes: 1 replayed whole, 0 in part and 1 not at all" in outcome.stdout
    kept, replayed = episodes(tmp_path)
    assert replayed.metadata["replayed_whole"]
    assert kept.metadata["replayed_rows"] == 0
    assert not kept.metadata["replayed_in_part"]
    assert kept.metadata["why_not_whole"] == "its first frame is not the game's"
    np.testing.assert_array_equal(kept.observation, cut.observation[:-1])


def test_the_frame_that_a_cut_episode_ends_in_must_be_shown_too(run, tmp_path, game):
    (whole,) = game
    altered = whole.observation.copy()
    altered[29, 40, 40] ^= 1  # The last row's; the true final observation is not stored.
    write_shards(tmp_path, [whole._replace(observation=altered)], shards=1)
    run("replay", tmp_path, "--dataset", DATASET, "--data-dir", tmp_path)
    (lost,) = episodes(tmp_path)
    assert lost.metadata["replayed_rows"] == 29
    assert not lost.metadata["replayed_whole"]
    assert lost.metadata["final_observation_is_known"]  # It is the stored one.
    np.testing.assert_array_equal(lost.observation[-1], altered[29])


def test_a_frame_that_cannot_be_decoded_stops_it_or_is_left_out(run, tmp_path, game):
    pngs = encode_png(game[0].observation[:30])
    middle = len(pngs[3]) // 2
    pngs[3] = pngs[3][:middle] + bytes([pngs[3][middle] ^ 255]) + pngs[3][middle + 1 :]
    bad = example(game[0], 0) | {"observations": wire.bytes_list(pngs)}
    shard = tmp_path / rl_unplugged.EPISODES / GAME / "run_1-00000-of-00001"
    rl_unplugged_files.write(shard, [bad, example(game[0], 1)])
    command = ["replay", tmp_path, "--dataset", DATASET, "--data-dir", tmp_path]
    assert "frame 3 is a damaged PNG" in run(*command).sentence
    outcome = run(*command, "--keep-going")
    assert outcome.status == 0
    assert "episode 0: frame 3 is a damaged PNG" in outcome.stderr
    assert [each.metadata["episode_id"] for each in episodes(tmp_path)] == [1]


def test_frames_stay_the_files_that_they_are(run, tmp_path):
    games = play(2, last_rows=30)  # One that ends, and the beginning of one.
    pngs = [[_by_pillow(frame) for frame in each.observation[:-1, ..., 0]] for each in games]
    examples = [
        example(each, index) | {"observations": wire.bytes_list(pngs[index])}
        for index, each in enumerate(games)
    ]
    shard = tmp_path / rl_unplugged.EPISODES / GAME / "run_1-00000-of-00001"
    rl_unplugged_files.write(shard, examples)
    run("replay", tmp_path, "--dataset", DATASET, "--data-dir", tmp_path)
    ended, cut = episodes(tmp_path)
    assert ended.metadata["replayed_whole"]
    assert cut.metadata["replayed_whole"]
    assert [bytes(png) for png in ended.observation.pngs[:-1]] == pngs[0]
    assert not np.any(ended.observation[-1])  # A proof was not asked for.
    assert [bytes(png) for png in cut.observation.pngs] == pngs[1]


def _by_pillow(frame):
    file = io.BytesIO()
    PIL.Image.fromarray(frame).save(file, "png")
    return file.getvalue()


def test_an_action_that_the_game_lacks_is_told(run, tmp_path, game):
    actions = game[0].action.copy()
    actions[7] = 9  # Asterix has 0 to 8.
    write_shards(tmp_path, [game[0]._replace(action=actions)], shards=1)
    command = ["replay", tmp_path, "--dataset", DATASET]
    assert "the game's actions are 0 to 8, and one is not of them" in run(*command).sentence
    checked = run(*command, "--check")
    assert "0 of 1 episodes" in checked.stdout
    assert "the game's actions are 0 to 8" in " ".join(checked.stdout.split())


def test_a_bucket_is_replayed_as_a_copy_of_it_and_not_checked(run, tmp_path, game, monkeypatch):
    write_shards(tmp_path / "bucket", game, shards=1)
    run("replay", tmp_path / "bucket", "--dataset", DATASET, "--data-dir", tmp_path / "copy")
    with serving(rl_unplugged=tmp_path / "bucket") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        command = ["replay", "gs://rl_unplugged", "--dataset", DATASET, "--data-dir", tmp_path]
        assert "is in a bucket, and --check reads only" in run(*command, "--check").sentence
        assert "1 episodes: 1 replayed whole" in run(*command).stdout
    (ours,) = tmp_path.glob(f"{DATASET}-replayed/1.0.0/*.tfrecord-*")
    (theirs,) = (tmp_path / "copy").glob(f"{DATASET}-replayed/1.0.0/*.tfrecord-*")
    assert ours.read_bytes() == theirs.read_bytes()


def test_what_was_replayed_is_not_replayed_again(run, tmp_path, game):
    write_shards(tmp_path, game, shards=1)
    run("replay", tmp_path, "--dataset", DATASET, "--data-dir", tmp_path)
    told = run("replay", f"{DATASET}-replayed", "--data-dir", tmp_path).sentence
    assert "so it was replayed before: name what it was replayed from" in told


def test_a_version_of_no_game_is_refused(run, tmp_path):
    vectors = [versions.vectors(0, 5, True)]
    folder = versions.write(tmp_path / "1.0.0", versions.VECTORS, {"train": vectors})
    assert "the frames and the lineage of a DQN Replay game" in run("replay", folder).sentence
    spec: EpisodeSpec = versions.FRAMES  # Of frames, but its lineage names no game.
    folder = versions.write(tmp_path / "2.0.0", spec, {"train": [versions.frames(0, 5, True)]})
    assert "the frames and the lineage of a DQN Replay game" in run("replay", folder).sentence


def test_a_lineage_without_roms_is_refused(run, tmp_path):
    folder = versions.write(
        tmp_path / "1.0.0", versions.FRAMES, {"train": [versions.frames(0, 5, True)]}
    )
    content = manifest.read(folder)[0]
    content["plan"]["lineage"] = {"game": "Pong"}
    manifest.write(folder, content)
    assert "lineage names no ROMs" in run("replay", folder).sentence


def test_transitions_are_refused_with_the_name_of_the_episodes(run, tmp_path):
    transitions = [rl_unplugged_files.transition(seed) for seed in range(3)]
    shard = tmp_path / rl_unplugged.TRANSITIONS / GAME / "run_1-00000-of-00001"
    rl_unplugged_files.write(shard, transitions)
    told = run("replay", tmp_path, "--dataset", f"{DATASET}_transitions").sentence
    assert told.endswith(
        "which cannot be replayed: name the configuration of its episodes, Asterix_run_1"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("nowhere", "'nowhere' is not published"),
        (".", ". does not say which dataset it is: name it with --dataset"),
        ("gs://rl_unplugged", "gs://rl_unplugged does not say which dataset it is"),
        (". --dataset nothing/x", "there is no builder 'nothing'"),
        ("Asterix/1 --episodes 3", "--episodes goes with --check: leave it out"),
        ("Asterix/1 --check --ram", "--ram does not go with --check: leave it out"),
        ("Asterix/1 --check --workers 2", "--workers does not go with --check"),
        (
            "Asterix/1 --roms mine",
            "there are no ROMs 'mine': choose ale-py 0.12.1 or atari-py 0.2.5",
        ),
        ("Asterix/1 --data-dir ftp://x", "ftp://x is not the address of a store: name a local"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    run, tmp_path, monkeypatch, game, arguments, told
):
    monkeypatch.chdir(tmp_path)
    write_dopamine_log(tmp_path / "Asterix" / "1", game)
    assert told in run("replay", *arguments.split()).sentence
    assert {path.name for path in tmp_path.iterdir()} == {"Asterix"}


def test_a_damaged_version_is_named_and_nothing_is_published(run, tmp_path, game):
    log = write_dopamine_log(tmp_path / GAME / "1", game)
    run("publish", "dqn_replay", log, "--data-dir", tmp_path / "data")
    config = "dqn_replay/Asterix_run_1-recollected"
    (shard,) = (tmp_path / "data" / config / "1.1.0").glob("*.tfrecord-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    told = run("replay", config, "--data-dir", tmp_path / "data").sentence
    assert shard.name in told
    assert not (tmp_path / "data" / f"{config}-replayed" / "1.0.0").exists()


def test_of_a_version_that_lacks_something_the_manifest_tells_what_each_file_holds(
    run, tmp_path, game
):
    folder = tmp_path / rl_unplugged.EPISODES / GAME
    bad = example(game[0], 0) | {"observations": wire.bytes_list([b"no PNG"] * 30)}
    for index, examples in ((1, [bad, example(game[0], 1)]), (2, [example(game[0], 2)] * 2)):
        rl_unplugged_files.write(folder / f"run_1-{index:05d}-of-00003", examples)
    published = run("publish", DATASET, tmp_path, "--data-dir", tmp_path, "--keep-going")
    assert "skipped checkpoint_00" in published.stderr
    version = tmp_path / DATASET / "2.0.0"
    counts = [
        (unit.num_episodes, unit.num_transitions)
        for unit in of_version(Version.open(version)).units
    ]
    assert counts == [(1, 29), (2, 58)]
    replayed = run("replay", DATASET, "--data-dir", tmp_path)
    assert "3 episodes: 3 replayed whole" in replayed.stdout
