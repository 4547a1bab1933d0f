"""Both sets of ROMs: against ale-py's own list, another's list of md5s, and hostile archives."""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile

import ale_py
import pytest

from rl_datasets import roms
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources.atari import ATARI_GAMES

# How the md5s of the 29 games of DQN Replay that differ begin, atari-py's and ale-py's, as someone
# else took them from the two packages.
DIFFERENT = {
    "Amidar": ("056f5d88", "acb7750b"),
    "Assault": ("c31a1794", "de78b3a0"),
    "Atlantis": ("0b33252b", "9ad36e69"),
    "BankHeist": ("83b8c01c", "00ce0bdd"),
    "BattleZone": ("e434c0e1", "41f252a6"),
    "Berzerk": ("fac28963", "136f75c4"),
    "Carnival": ("de29e46d", "028024fb"),
    "Centipede": ("17d000a2", "91c2098e"),
    "DemonAttack": ("b24f6a58", "f0e0addc"),
    "DoubleDunk": ("cfc226d0", "368d88a6"),
    "Gopher": ("8f90590d", "c16c79aa"),
    "Gravitar": ("4767356f", "8ac18076"),
    "IceHockey": ("47711c44", "a4c08c49"),
    "Krull": ("cc724ebe", "4baada22"),
    "KungFuMaster": ("0b4e793c", "5b92a93b"),
    "MsPacman": ("9469d182", "87e79cd4"),
    "NameThisGame": ("f98d2276", "36306070"),
    "Pitfall": ("f73d2d0e", "3e90cf23"),
    "Pooyan": ("668dc528", "4799a40b"),
    "Riverraid": ("da509600", "39394843"),
    "RoadRunner": ("7d3cdde6", "ce5cc626"),
    "Skiing": ("367411b7", "b76fbadc"),
    "SpaceInvaders": ("61dbe94f", "72ffbef6"),
    "Tennis": ("a5c96b04", "42cdd6a9"),
    "Tutankham": ("66c2380c", "085322ba"),
    "Venture": ("c63a98ca", "3e899eba"),
    "VideoPinball": ("a2424c1a", "107cc025"),
    "WizardOfWor": ("663ef22e", "7e8aa18b"),
    "YarsRevenge": ("ee8027d5", "c5930d0e"),
}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """No test sees what the user installed, but the one that looks at it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_table_is_ale_pys_and_the_packages():
    table = {rom.game: rom for rom in roms.show()}
    assert len(table) == 63
    assert sum(rom.differs for rom in table.values()) == 31
    ale = json.loads((pathlib.Path(ale_py.__file__).parent / "roms" / "md5.json").read_text())
    for game, rom in table.items():
        assert rom.md5[RomSet.ALE] == ale[f"{game}.bin"]
        assert list(rom.path) == [RomSet.ALE]
    names = {game: roms.rom_path(game, RomSet.ALE).stem for game in ATARI_GAMES}
    assert {game for game, name in names.items() if table[name].differs} == set(DIFFERENT)
    for game, (legacy, now) in DIFFERENT.items():
        md5 = table[names[game]].md5
        assert md5[RomSet.LEGACY].startswith(legacy)
        assert md5[RomSet.ALE].startswith(now)


def test_where_both_sets_have_the_same_rom_one_serves_for_both():
    assert roms.rom_path("Pong", RomSet.LEGACY) == roms.rom_path("pong", RomSet.ALE)
    assert roms.rom_path("UpNDown", RomSet.LEGACY).name == "up_n_down.bin"


def test_an_absent_set_is_told_and_how_to_install_it():
    with pytest.raises(
        DatasetError, match=r"ms_pacman\.bin, MsPacman's ROM in atari-py 0\.2\.5, is no"
    ):
        roms.rom_path("MsPacman", RomSet.LEGACY)
    with pytest.raises(DatasetError, match="rl-datasets roms --install --accept"):
        roms.rom_path("MsPacman", RomSet.LEGACY)


def test_another_rom_is_not_taken(tmp_path):
    (tmp_path / "ms_pacman.bin").write_bytes(roms.rom_path("MsPacman", RomSet.ALE).read_bytes())
    with pytest.raises(DatasetError, match="is another ROM"):
        roms.rom_path("MsPacman", RomSet.LEGACY, tmp_path)


@pytest.mark.parametrize("game", ["Sokoban", "../pong", "", "pong.bin"])
def test_a_game_that_is_none_is_refused(game):
    with pytest.raises(DatasetError, match="is not a game of atari-py"):
        roms.rom_path(game, RomSet.ALE)


def test_the_rom_that_does_not_start_is_refused():
    with pytest.raises(DatasetError, match=r"cannot play atari-py 0\.2\.5's Defender"):
        roms.rom_path("Defender", RomSet.LEGACY)
    assert roms.rom_path("Defender", RomSet.ALE).is_file()


@pytest.mark.parametrize("rom_set", RomSet)
def test_an_evaluation_uses_the_set_that_the_lineage_names(rom_set):
    assert roms.roms_for({"game": "Pong", "rom_set": str(rom_set)}) is rom_set


@pytest.mark.parametrize(
    ("lineage", "reason"),
    [
        ({"game": "Pong"}, "names no ROMs"),
        ({"rom_set": "atari-py 0.2.6"}, "names the ROMs 'atari-py 0.2.6'"),
        ({"rom_set": 7}, "names the ROMs 7"),
    ],
)
def test_an_evaluation_without_a_known_set_is_refused(lineage, reason):
    with pytest.raises(DatasetError, match=reason):
        roms.roms_for(lineage)


CONTENTS = {"pong": b"pong" * 512, "ms_pacman": b"pacman" * 1000}


@pytest.fixture
def small_table(monkeypatch):
    """As if atari-py held these two ROMs."""
    md5s = {game: hashlib.md5(rom).hexdigest() for game, rom in CONTENTS.items()}
    monkeypatch.setattr(roms, "_MD5", {game: (md5, "0" * 32) for game, md5 in md5s.items()})


def archive_of(path, members):
    """A gzipped tar of (name, content) or (TarInfo, content)."""
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def named(game):
    return f"atari-py-0.2.5/atari_py/atari_roms/{game}.bin"


def whole():
    return [(named(game), content) for game, content in CONTENTS.items()]


@pytest.mark.usefixtures("small_table")
def test_what_was_installed_is_found(tmp_path):
    archive = archive_of(tmp_path / "a.tar.gz", whole())
    folder = roms.install(accept=True, archive=archive)
    assert folder == tmp_path / "cache" / "rl-datasets" / "roms" / "atari-py-0.2.5"
    for game, content in CONTENTS.items():
        path = roms.rom_path(game, RomSet.LEGACY)
        assert path.read_bytes() == content
        assert path.parent == folder
    assert all(list(rom.path) == [RomSet.LEGACY] for rom in roms.show())
    roms.install(accept=True, archive=archive)  # again


@pytest.mark.usefixtures("small_table")
def test_nothing_is_installed_without_acceptance(tmp_path):
    archive = archive_of(tmp_path / "a.tar.gz", whole())
    with pytest.raises(DatasetError, match="install them with --accept"):
        roms.install(accept=False, archive=archive)
    assert not (tmp_path / "cache").exists()


def linked(target):
    info = tarfile.TarInfo(named("pong"))
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.usefixtures("small_table")
def test_names_that_climb_out_of_the_folder_write_nothing(tmp_path):
    members = [("../climbed.bin", b"x"), (str(tmp_path / "absolute.bin"), b"x"), *whole()]
    folder = tmp_path / "deep" / "roms"
    roms.install(accept=True, folder=folder, archive=archive_of(tmp_path / "a.tar.gz", members))
    assert sorted(path.name for path in folder.iterdir()) == ["ms_pacman.bin", "pong.bin"]
    assert not list(tmp_path.rglob("climbed.bin"))
    assert not list(tmp_path.rglob("absolute.bin"))


@pytest.mark.usefixtures("small_table")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        (whole()[:1], "is not the source package of atari-py==0.2.5"),
        ([whole()[0], (named("ms_pacman"), b"other")], "ms_pacman.bin in .* has the md5"),
        ([(linked("/etc/passwd"), b""), whole()[1]], "is not the source package|has the md5"),
        ([(linked("../../../../a"), b""), whole()[1]], "is not the source package|has the md5"),
        ([(named("pong"), bytes(10_000_000)), whole()[1]], "pong.bin in .* has the md5"),
    ],
)
def test_an_archive_that_lacks_a_rom_or_has_another_installs_nothing(tmp_path, members, message):
    archive = archive_of(tmp_path / "a.tar.gz", members)
    with pytest.raises(DatasetError, match=message):
        roms.install(accept=True, archive=archive)
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("small_table")
@pytest.mark.parametrize("damage", ["absent", "cut", "text", "gzipped text", "bit"])
def test_a_damaged_archive_is_named(tmp_path, damage):
    path = archive_of(tmp_path / "a.tar.gz", whole())
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "bit":
        path.write_bytes(content[:40] + bytes([content[40] ^ 8]) + content[41:])
    else:
        text = {"cut": content[:-40], "text": b"no", "gzipped text": gzip.compress(b"no" * 999)}
        path.write_bytes(text[damage])
    with pytest.raises(DatasetError, match=r"a\.tar\.gz"):
        roms.install(accept=True, archive=path)
    assert not (tmp_path / "cache").exists()


def test_an_index_that_does_not_answer_is_told(tmp_path, monkeypatch):
    for name, value in {
        "INDEX_URL": "http://127.0.0.1:9/simple",
        "RETRIES": "0",
        "FIND_LINKS": str(tmp_path),
        "CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(DatasetError, match=r"pip cannot download .* name it with --archive"):
        roms.install(accept=True)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("game", "is_same"), [("Pong", True), ("MsPacman", False)])
def test_two_sets_may_have_the_same_rom_of_a_game(game, is_same):
    assert roms.is_same(game, RomSet.LEGACY, RomSet.ALE) == is_same
    assert roms.is_same(game, RomSet.ALE, RomSet.ALE)
