"""Fixtures that every test may use."""

import collections
import os
import pathlib
import signal
import sys

import hypothesis
import pytest

from rl_datasets import extras
from tests.optional import WHAT_BRINGS

pytest_plugins = ["tests.rl_datasets.stores.fixtures"]

# What lands must not hang on luck, so CI draws the same examples every time.
# No test may fail because the machine is busy.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

# A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[1]


GOOGLE_RESEARCH = "github.com/google-research"
BRAC = f"{GOOGLE_RESEARCH}/google-research at 9a46e688, behavior_regularized_offline_rl"
TFDS_FIXTURES = "among the test fixtures of github.com/tensorflow/datasets"
REAL_FILES = {  # What each folder of them holds, and what brings it.
    "brac": f"BRAC's policies, clones and learning curves: {BRAC}",
    "brac_testdata": f"BRAC's saved transitions: testdata of {BRAC}",
    "d4rl": f"slices of D4RL's files: {TFDS_FIXTURES}",
    "rl_unplugged": f"slices of RL Unplugged's shards: {TFDS_FIXTURES}",
    "dopamine_logs": f"logs of DQN Replay's own buffer: {GOOGLE_RESEARCH}/batch_rl on "
    "dopamine-rl 4.0.6, at a capacity of 1,000 rows",
}


class RealFiles:
    """Files that no one here made; a test that asks for a kind that is not at hand is skipped."""

    def __init__(self) -> None:
        folder = os.environ.get("RL_DATASETS_SHARED", ROOT.parent / "shared" / "data")
        self.folder = pathlib.Path(folder)

    def __truediv__(self, path: str | pathlib.Path) -> pathlib.Path:
        kind = pathlib.Path(path).parts[0]
        if not (self.folder / kind).is_dir():
            pytest.skip(f"{REAL_FILES[kind]}; put them in {kind}/ below RL_DATASETS_SHARED")
        return self.folder / path


@pytest.fixture(scope="session")
def shared() -> RealFiles:
    return RealFiles()


@pytest.fixture(scope="session")
def legacy_rom():
    """The path of a game's ROM in atari-py 0.2.5; skips where those are not installed."""
    from rl_datasets import roms
    from rl_datasets.errors import DatasetError

    def find(game):
        try:
            return roms.rom_path(game, roms.RomSet.LEGACY)
        except DatasetError:
            pytest.skip("atari-py's ROMs: `rl-datasets roms --install --accept` puts them here")

    return find


def pytest_make_parametrize_id(val):
    """Bytes name no test: those of gzip hold the time, and workers must find the same tests."""
    return "bytes" if isinstance(val, bytes) else None


def pytest_terminal_summary(terminalreporter):
    """Ends the suite with what was skipped, how often, and what brings it."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(report.longrepr[2] for report in skipped)
    if reasons:
        terminalreporter.section("skipped, and what brings it")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5,}  {reason.removeprefix('Skipped: ')}")


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs a command of the command line in this process, by the function that it is."""
    from rl_datasets import cli
    from tests.command_line import Outcome

    def run(*arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["rl-datasets", *map(str, arguments)])
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Outcome(ended.value.code or 0, *capfd.readouterr())

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    _forget_flax()
    for package, what_brings in WHAT_BRINGS.items():
        if not extras.is_installed(package):
            for item in items:
                if item.get_closest_marker(package):
                    item.add_marker(pytest.mark.skip(reason=what_brings))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    _forget_flax()


def _forget_flax():
    """Haiku leaves what is no module where flax would be, and Hypothesis asks it for its file."""
    sys.modules.pop("haiku.experimental.flax", None)
