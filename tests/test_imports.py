"""Who may import whom: the arrows of docs/architecture.md, and no others."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# A module may import its own room and the rooms named here.
ROOMS = {
    "rl_datasets.errors": set(),
    "rl_datasets.files": {"rl_datasets.errors"},
    "rl_datasets.terminal": set(),
    "rl_datasets.fields": {"rl_datasets.errors"},
    "rl_datasets.frames": set(),
    "rl_datasets.staging": {"rl_datasets.errors", "rl_datasets.files"},
    "rl_datasets.npz": {"rl_datasets.errors", "rl_datasets.files"},
    "rl_datasets.run_log": {"rl_datasets.errors", "rl_datasets.files"},
    "rl_datasets.roms": {"rl_datasets.errors", "rl_datasets.files"},
    "rl_datasets.wire": set(),
    "rl_datasets.background": set(),
    "rl_datasets.records": {"rl_datasets.background", "rl_datasets.errors"},
    "rl_datasets.episode": {"rl_datasets.errors", "rl_datasets.frames"},
    "rl_datasets.transition": {"rl_datasets.episode", "rl_datasets.frames"},
    "rl_datasets.sources": {
        "rl_datasets.background",
        "rl_datasets.errors",
        "rl_datasets.fields",
        "rl_datasets.files",
        "rl_datasets.npz",
        "rl_datasets.frames",
        "rl_datasets.records",
        "rl_datasets.wire",
        "rl_datasets.episode",
        "rl_datasets.transition",
    },
    "rl_datasets.rendering": {"rl_datasets.errors", "rl_datasets.files", "rl_datasets.frames"},
    "rl_datasets.collection": {
        "rl_datasets.errors",
        "rl_datasets.fields",
        "rl_datasets.roms",
        "rl_datasets.files",
        "rl_datasets.staging",
        "rl_datasets.npz",
        "rl_datasets.terminal",
        "rl_datasets.frames",
        "rl_datasets.episode",
        "rl_datasets.sources",
    },
    "rl_datasets.replaying": {
        "rl_datasets.errors",
        "rl_datasets.files",
        "rl_datasets.terminal",
        "rl_datasets.roms",
        "rl_datasets.frames",
        "rl_datasets.episode",
        "rl_datasets.transition",
        "rl_datasets.sources",
        "rl_datasets.published",
        "rl_datasets.publishing",
    },
    "rl_datasets.published": {
        "rl_datasets.errors",
        "rl_datasets.files",
        "rl_datasets.terminal",
        "rl_datasets.frames",
        "rl_datasets.records",
        "rl_datasets.wire",
        "rl_datasets.episode",
        "rl_datasets.transition",
    },
    "rl_datasets.publishing": {
        "rl_datasets.errors",
        "rl_datasets.files",
        "rl_datasets.staging",
        "rl_datasets.frames",
        "rl_datasets.records",
        "rl_datasets.episode",
        "rl_datasets.transition",
        "rl_datasets.sources",
        "rl_datasets.published",
    },
    "rl_datasets.serving": {
        "rl_datasets.background",
        "rl_datasets.errors",
        "rl_datasets.files",
        "rl_datasets.terminal",
        "rl_datasets.frames",
        "rl_datasets.records",
        "rl_datasets.episode",
        "rl_datasets.published",
    },
    "rl_datasets.exporting": {
        "rl_datasets.collection.replay_log",
        "rl_datasets.errors",
        "rl_datasets.files",
        "rl_datasets.staging",
        "rl_datasets.terminal",
        "rl_datasets.frames",
        "rl_datasets.episode",
        "rl_datasets.sources",
        "rl_datasets.published",
    },
    "builders": {"rl_datasets"},
    "learners": set(),
    "benchmarks.training": {"rl_datasets", "builders", "learners"},
    "benchmarks.tables": {"rl_datasets", "builders", "benchmarks.training"},
    "benchmarks.speed": {
        "rl_datasets",
        "builders",
        "learners",
        "benchmarks.training",
        "benchmarks.replaying",  # whose recorded games it replays
    },
    "benchmarks": {"rl_datasets", "builders", "learners"},  # what stands on all of its rooms
}
ROOF = "rl_datasets.cli"
VERSION = "rl_datasets.__version__"
OURS = {"rl_datasets", "builders", "learners", "benchmarks"}
LEARNERS_MAY_USE = {"jax", "haiku", "optax", "numpy"} | set(sys.stdlib_module_names)
HEAVY = ("tensorflow", "apache_beam", "reverb", "gymnasium", "mujoco", "h5py", "jax", "rlds")


def modules() -> dict[str, pathlib.Path]:
    """Every module of the four packages, by dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in OURS
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imports(path: pathlib.Path) -> set[str]:
    """Every module that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: name the module in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_inside(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_follow_the_arrows(module):
    if is_inside(module, ROOF) or module == "rl_datasets":
        return
    home = max((room for room in ROOMS if is_inside(module, room)), key=len)
    for imported in imports(modules()[module]):
        if imported.split(".")[0] not in OURS or imported in ("rl_datasets", VERSION):
            continue
        allowed = {home} | ROOMS[home]
        assert any(is_inside(imported, room) for room in allowed), (
            f"{module} imports {imported}; {home} may import only {sorted(allowed)}"
        )
        assert not is_inside(imported, ROOF), f"{module} imports the command line"


@pytest.mark.parametrize("module", sorted(m for m in modules() if is_inside(m, "learners")))
def test_learners_use_jax_haiku_optax_and_numpy_alone(module):
    for imported in imports(modules()[module]):
        assert imported.split(".")[0] in LEARNERS_MAY_USE | {"learners"}, imported


@pytest.mark.parametrize("module", ["rl_datasets", "rl_datasets.episode", "rl_datasets.cli"])
def test_importing_the_package_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(sorted(set({HEAVY}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
