"""`rl-datasets replay --check`, and what it says of sticky actions."""

import dataclasses
import functools

import ale_py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder
from rl_datasets.cli.data.lookup import builder_class
from rl_datasets.published import manifest
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.replaying import check, command, replay, sticky_estimate
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.episodes import Replayer
from rl_datasets.replaying.source import of_builder, of_version
from rl_datasets.roms import RomSet
from tests.rl_datasets.replaying.logs import (
    GAME,
    ROM,
    as_logged,
    play,
    write_dopamine_log,
    write_shards,
)

DATASET = "rl_unplugged_atari/Asterix_run_1"


def row_of(table, file):
    (line,) = [line for line in table.splitlines() if f" {file} " in line]
    return [cell.strip() for cell in line.strip("│ ").split("│")]


def test_shards_have_their_rewards_a_row_early(run, tmp_path):
    write_shards(tmp_path, play(5))
    outcome = run("replay", tmp_path, "--dataset", DATASET, "--check")
    assert outcome.status == 0, outcome.stderr
    for shard in ("checkpoint_00", "checkpoint_01"):
        _, whole, rows, rom_set, rewards, *_ = row_of(outcome.stdout, shard)
        assert (whole, rom_set, rewards) == ("2 of 2", "atari-py 0.2.5", "a row early")
        assert rows == " of ".join([rows.split()[0]] * 2)
    assert "4 of 4 episodes of rl_unplugged_atari/Asterix_run_1 replay whole" in outcome.stdout
    assert "looks like 0.25" in outcome.stdout
    assert "on one core" in outcome.stdout


def test_a_log_has_them_with_their_action(run, tmp_path):
    log = write_dopamine_log(tmp_path / GAME / "1", play(5))
    outcome = run("replay", log, "--check", "--episodes", 1)
    assert outcome.status == 0, outcome.stderr
    _, whole, _, rom_set, rewards, *_ = row_of(outcome.stdout, "checkpoint_00")
    assert (whole, rom_set, rewards) == ("1 of 1", "ale-py 0.12.1", "with their action")
    total = sum(len(each.action) for each in play(5)) - 1  # The last is cut.
    assert f"all of about {total:,} rows" in outcome.stdout


def test_nothing_is_published(run, tmp_path):
    write_shards(tmp_path / "shards", play(1), shards=1)
    run(
        "replay", tmp_path / "shards", "--dataset", DATASET, "--check", "--data-dir", tmp_path / "d"
    )
    assert not (tmp_path / "d").exists()


def test_an_episode_is_replayed_on_the_other_set_where_the_named_one_does_not(played_elsewhere):
    source, replayer = played_elsewhere
    (told,) = check.check(source, replayer, 2)
    assert told.roms == {RomSet.ALE}
    assert told.whole == told.tried == 2
    (unit,) = source.units
    episodes = list(replayer.replay_all(source.stored(unit)()))
    assert all(each.metadata["on_other_roms"] for each in episodes)
    assert all(each.metadata["replayed_whole"] for each in episodes)
    *_, sentence, _, _ = check.sentences(source, replayer, [told])
    assert sentence.endswith("of atari-py 0.2.5: name the other with --roms 'ale-py 0.12.1'")


@pytest.fixture
def played_elsewhere(tmp_path):
    """A source whose lineage names another ROM than the one that it was played on."""
    write_shards(tmp_path, play(2), shards=1)
    source = command.open_source(str(tmp_path), DATASET, tmp_path, builder_class)
    paths = {
        RomSet.LEGACY: ale_py.roms.get_rom_path("seaquest"),
        RomSet.ALE: ale_py.roms.get_rom_path(ROM),
    }
    return source, Replayer(paths)


def test_a_game_whose_roms_differ(run, tmp_path, monkeypatch, legacy_rom):
    """Of a log that says the wrong one; then with the right one named."""
    rom = legacy_rom("Amidar")
    monkeypatch.chdir(tmp_path)
    log = write_dopamine_log(tmp_path / "Amidar" / "1", play(2, rom=rom), game="Amidar")
    checked = run("replay", log, "--check", "--episodes", 1, "--patience", 500).stdout
    assert row_of(checked, "checkpoint_00")[1:4:2] == ["1 of 1", "atari-py 0.2.5"]
    assert "name the other with --roms 'atari-py 0.2.5'" in checked
    replayed = run("replay", log, "--patience", 500).stdout
    assert "2 episodes: 2 replayed whole" in replayed
    assert "2 of them replayed on the ROM of atari-py 0.2.5, and not on that of ale-py" in replayed
    named = run("replay", log, "--roms", "atari-py 0.2.5", "--version", "1.0.1")
    assert named.status == 0
    assert "of them" not in named.stdout
    version = tmp_path / ".data" / "dqn_replay" / "Amidar_run_1-recollected-replayed" / "1.0.1"
    assert manifest.read(version)[0]["plan"]["lineage"]["rom_set"] == "atari-py 0.2.5"


def test_screens_are_all_of_one_size():
    paths = {
        RomSet.LEGACY: ale_py.roms.get_rom_path("seaquest"),
        RomSet.ALE: ale_py.roms.get_rom_path("carnival"),  # Of 214 lines, where most have 210.
    }
    assert Replayer(paths).tried == [RomSet.LEGACY, RomSet.ALE]
    assert Replayer(paths, screens=True).tried == [RomSet.LEGACY]


def test_a_rom_that_is_missing_names_the_command_that_installs_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_shards(tmp_path / "shards", play(1), shards=1, game="SpaceInvaders")
    dataset = "rl_unplugged_atari/SpaceInvaders_run_1"
    outcome = run("replay", tmp_path / "shards", "--dataset", dataset, "--check")
    assert outcome.status == 1
    assert "run `rl-datasets roms --install" in outcome.sentence


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5])
def test_the_probability_of_sticky_actions_is_told(probability):
    (played,) = play(1, seed=2, rom="pong", last_rows=300, sticky_probability=probability)
    emulator = Emulator(ale_py.roms.get_rom_path("pong"))
    stored = as_logged(played)
    replayed = replay.replay(emulator, stored, patience=5_000)
    assert replayed.whole
    shown = sticky_estimate.shown(emulator, stored.observations, stored.actions, replayed.way)
    estimate, least, most = sticky_estimate.estimate(shown)
    assert least <= probability <= most
    assert least <= estimate <= most
    assert most - least < 0.15


def test_an_estimate_of_what_is_always_shown_is_the_share():
    """By hand: 30 frames kept the action and 70 did not, in steps whose number always shows."""
    counts = {(0,): 50, (1,): 14, (2,): 5, (3,): 2}  # 14 + 10 + 6 kept; 71 took the new one.
    assert sticky_estimate.estimate(counts).estimate == pytest.approx(30 / 101, abs=0.0026)
    # A step that says nothing changes nothing.
    assert sticky_estimate.estimate({**counts, (0, 1, 2, 3, 4): 1_000}) == sticky_estimate.estimate(
        counts
    )


class VersionOne(Builder, skip_registration=True):
    """As the builder was when rewards stood where the files have them."""

    name = Builder.name
    VERSION = tfds.core.Version("1.0.0")

    def episode_spec(self):
        return dataclasses.replace(super().episode_spec(), extras={})

    def source_units(self):
        return [
            dataclasses.replace(unit, read=functools.partial(as_stored, unit.read))
            for unit in super().source_units()
        ]


def as_stored(read):
    for episode in read():
        reward = np.append(episode.extras["stored_reward"][:-1], np.float32(0))
        yield dataclasses.replace(episode, reward=reward, extras={})


def test_published_versions_say_where_they_have_their_rewards_and_are_replayed_alike(tmp_path):
    write_shards(tmp_path / "shards", play(2), shards=1)
    replayed = []
    for builder, where in ((Builder, "with their action"), (VersionOne, "a row early")):
        made = builder(
            config="Asterix_run_1", source=str(tmp_path / "shards"), data_dir=tmp_path / "data"
        )
        source = of_version(Version.open(publish(made).path))
        (told,) = check.check(source, Replayer(source.roms()), 2)
        assert (told.whole, told.rewards_stand) == (2, where)
        (unit,) = source.units
        replayed.append(list(Replayer(source.roms()).replay_all(source.stored(unit)())))
    for new, old in zip(*replayed, strict=True):
        assert new.metadata["replayed_whole"]
        assert old.metadata == new.metadata
        np.testing.assert_array_equal(old.reward, new.reward)
        np.testing.assert_array_equal(old.extras["raw_reward"], new.extras["raw_reward"])


def test_the_first_action_s_reward_is_not_known(tmp_path):
    write_shards(tmp_path / "shards", play(2), shards=1)
    source = of_builder(
        Builder(config="Asterix_run_1", source=str(tmp_path / "shards"), data_dir=tmp_path)
    )
    (unit,) = source.units
    for stored in source.stored(unit)():
        assert np.isnan(stored.reward[0])
        np.testing.assert_array_equal(stored.reward[1:], stored.episode.reward[1:-1])


def test_a_file_that_has_rewards_with_their_action_is_told_where_others_have_them_early(
    run, tmp_path
):
    games = [game._replace(reward=np.append(0, game.reward[:-1])) for game in play(2)]
    write_shards(tmp_path / "other", games, shards=1)
    said = run("replay", tmp_path / "other", "--dataset", DATASET, "--check").stdout
    sentence = "checkpoint_00 would be published wrongly: rl_unplugged_atari expects the rewards"
    assert sentence in " ".join(said.split())
    write_shards(tmp_path / "usual", play(2), shards=1)
    said = run("replay", tmp_path / "usual", "--dataset", DATASET, "--check").stdout
    assert "published wrongly" not in said
