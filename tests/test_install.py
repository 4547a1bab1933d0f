"""What an install has: its packages, and what a command says of one that is missing."""

import ast
import functools
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable

import pytest

from rl_datasets import cli, extras
from tests.rl_datasets.publishing import synthetic

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("rl_datasets", "builders", "learners", "benchmarks")
NUMBER_OF_BASE = 17
OF_MODULES = importlib.metadata.packages_distributions()


def imported_by(module: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@functools.cache
def required_by(extra: str) -> set[str]:
    """The distributions that an extra of this project brings, in the environment of the tests."""
    found, open_ = set(), [("rl-datasets", extra)]
    while open_:
        name, wanted = open_.pop()
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in requirements:
            of_extra = re.search(r"extra == ['\"](.+?)['\"]", requirement)
            if of_extra and of_extra[1] != wanted:
                continue
            told = re.match(r"([\w.-]+)(?:\[([\w-]+)\])?", requirement)
            (distribution,) = named([told[1]])
            if distribution not in found:
                found.add(distribution)
                open_.append((distribution, told[2] or ""))
    return found


def named(distributions: Iterable[str]) -> set[str]:
    """Names of distributions as PyPI compares them."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}


def test_every_package_that_is_imported_is_the_bases_or_has_an_extra():
    base = {name for name, each in OF_MODULES.items() if named(each) & required_by("")}
    # Who calls what is there for PyTorch has PyTorch.
    known = {*PACKAGES, *base, *extras.OF_PACKAGE, *sys.stdlib_module_names, "torch"}
    for module in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        if module.parent != ROOT / "benchmarks/speed":  # which times packages of others
            assert not imported_by(module) - known, module


@pytest.mark.parametrize(("package", "extra"), extras.OF_PACKAGE.items())
def test_the_extra_that_is_named_brings_the_package(package, extra):
    if not extras.is_installed(package):
        pytest.skip(f"{package} is not installed")
    assert named(OF_MODULES[package]) & required_by(extra)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of a copy, because a build leaves folders where it is made."""
    source = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        path = ROOT / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", source / "dist", source]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = (source / "dist").glob("*.whl")
    return path


def test_the_wheel_has_the_files_that_are_no_code_and_no_agents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {f"{name}/py.typed" for name in PACKAGES} <= {*names}
    for name in ("builders/brac/README.md", "benchmarks/recipes/brac_bc.toml"):
        assert name in names
    assert not [name for name in names if name.startswith("tests/")]
    assert not [name for name in names if "trained_agents" in name and name.endswith(".npz")]
    assert wheel.stat().st_size < 3_000_000


@pytest.fixture(scope="module")
def empty(wheel, tmp_path_factory):
    """An environment with nothing but the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = call(folder / "bin", "pip", "install", "--quiet", wheel, folder=folder)
    if done.returncode:
        pytest.skip(f"what the wheel requires cannot be had here: {done.stderr.splitlines()[-1]}")
    return folder / "bin"


def call(empty, *command, folder):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [empty / command[0], *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_the_base_has_few_packages(empty, tmp_path):
    listed = call(empty, "pip", "list", "--format", "json", folder=tmp_path)
    names = {package["name"] for package in json.loads(listed.stdout)}
    assert len(names - {"pip", "setuptools", "rl-datasets"}) <= NUMBER_OF_BASE


def test_the_base_reads_shows_verifies_and_exports_a_version(empty, tmp_path):
    path = synthetic.published(tmp_path, units=1).path
    read = f"import rl_datasets; print(len(list(rl_datasets.load('{path}').episodes())))"
    assert call(empty, "python", "-c", read, folder=tmp_path).stdout == "4\n"
    for command in ("list", f"show {path}", f"verify {path}", f"export {path} arrays out.npz"):
        done = call(empty, "rl-datasets", *command.split(), folder=tmp_path)
        assert done.returncode == 0, done.stderr


def test_every_command_has_its_help(empty, tmp_path):
    names = [name for of_heading in cli.COMMANDS.values() for name in of_heading]
    script = f"""
import contextlib, sys
from rl_datasets import cli
for name in {names}:
    sys.argv = ["rl-datasets", name, "--help"]
    with contextlib.suppress(SystemExit):
        cli.main()
"""
    done = call(empty, "python", "-c", script, folder=tmp_path)
    assert done.stdout.count("Usage: rl-datasets") == len(names), done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("collect HalfCheetah-v4 pure out --transitions 10", "collect"),
        ("publish brac collected", "publish"),
        ("reproduce brac_bc --dry-run", "train"),
        ("serve synthetic", "reverb"),
        ("quickstart", "train"),
        ("log-game Pong random logs", "train"),
    ],
)
def test_a_command_says_which_extra_it_needs(empty, tmp_path, command, extra):
    done = call(empty, "rl-datasets", *command.split(), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"pip install 'rl-datasets[{extra}]'" in done.stderr
