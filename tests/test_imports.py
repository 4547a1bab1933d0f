"""Who may import whom: the arrows of docs/architecture.md, and no others."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = {"rl_datasets", "builders", "learners", "benchmarks"}


def library(names: str) -> set[str]:
    """Rooms of rl_datasets."""
    return {f"rl_datasets.{name}" for name in names.split()}


# Every room, from the ground up, and the rooms below that its modules import. A room is a folder or
# a file of rl_datasets or of benchmarks, or one of the other packages. `rl_datasets` and
# `benchmarks` are what their own __init__ holds.
ROOMS = {
    "rl_datasets._version": set(),
    "rl_datasets.errors": set(),
    "rl_datasets.extras": set(),
    "rl_datasets.background": set(),
    "rl_datasets.terminal": set(),
    "rl_datasets.frames": set(),
    "rl_datasets.markup": set(),
    "rl_datasets.wire": set(),
    "rl_datasets.toml_tables": library("errors"),
    "rl_datasets.files": library("errors"),
    "rl_datasets.staging": library("errors files"),
    "rl_datasets.npz": library("errors files"),
    "rl_datasets.run_log": library("errors files"),
    "rl_datasets.roms": library("errors files"),
    "rl_datasets.rendering": library("errors files"),
    "rl_datasets.stores": library("errors files"),
    "rl_datasets.records": library("background errors"),
    "rl_datasets.array_records": library("errors"),
    "rl_datasets.episode": library("errors frames"),
    "rl_datasets.episode_check": library("episode frames"),
    "rl_datasets.transition": library("episode episode_check frames"),
    "rl_datasets.sources": library(
        "background episode episode_check errors files frames npz records staging stores terminal "
        "toml_tables transition wire"
    ),
    "rl_datasets.collection": library(
        "_version episode episode_check errors files npz roms sources staging terminal toml_tables"
    ),
    "rl_datasets.published": library(
        "_version array_records episode episode_check errors files frames records stores "
        "terminal transition wire"
    ),
    "rl_datasets": library("_version files published"),
    "rl_datasets.publishing": library(
        "episode errors files published sources staging stores terminal transition"
    ),
    "rl_datasets.serving": library(
        "_version background episode errors frames published staging terminal"
    ),
    "rl_datasets.torch": library("errors files frames published serving stores"),
    "rl_datasets.exporting": {
        *library("episode errors published sources staging terminal"),
        "rl_datasets.collection.replay_log",
    },
    "rl_datasets.showing": library(
        "collection episode errors files frames markup published rendering staging stores terminal "
        "transition"
    ),
    "rl_datasets.replaying": library(
        "episode errors files frames published publishing roms sources terminal transition"
    ),
    "builders": library("episode errors files publishing run_log sources transition"),
    "learners": set(),
    "benchmarks": set(),
    "benchmarks.recipes": {"learners"},
    "benchmarks.reported": library("errors"),
    "benchmarks.training": {
        *library("_version collection episode errors files npz published roms run_log"),
        *library("serving sources staging terminal toml_tables"),
        "benchmarks.recipes",
        "benchmarks.reported",
        "learners",
    },
    "benchmarks.tables": {
        *library("episode errors files markup published run_log showing sources staging terminal"),
        "builders",
        "benchmarks.reported",
        "benchmarks.training",
    },
    "benchmarks.partial_policies": {*library("collection files"), "benchmarks.training"},
    "benchmarks.bodies": {
        *library("collection files"),
        "benchmarks.partial_policies",
        "benchmarks.tables",
    },
    "benchmarks.first_actions": library("files replaying roms sources"),
    "benchmarks.rl_unplugged_rewards": {
        *library("collection files replaying roms sources"),
        "benchmarks.tables",
    },
    "benchmarks.rl_unplugged_transitions": library("collection roms sources"),
    "benchmarks.replaying": {
        *library("collection errors files replaying roms sources"),
        "benchmarks.training",
    },
    "benchmarks.replaying_page": {*library("files roms"), "benchmarks.replaying"},
    "benchmarks.installs": {*library("errors files"), "benchmarks.training"},
    "benchmarks.quickstart": {
        "rl_datasets",
        *library("collection extras files publishing serving terminal"),
        "builders",
        "benchmarks.tables",
        "benchmarks.training",
    },
    "benchmarks.speed": {
        *library("collection episode errors exporting files frames published publishing records"),
        *library("replaying roms serving sources torch wire"),
        "builders",
        "learners",
        "benchmarks.recipes",
        "benchmarks.replaying",  # whose recorded games it replays
        "benchmarks.training",
    },
    # The roof, in the lowest package, and so the one room whose arrows go up to others.
    "rl_datasets.cli": {
        "rl_datasets",
        *library("collection errors exporting extras files published publishing rendering"),
        *library("replaying roms serving showing sources stores terminal"),
        "builders",
        "benchmarks.quickstart",
        "benchmarks.tables",
        "benchmarks.training",
    },
}
ROOF = "rl_datasets.cli"
BELOW = {  # Which packages a package's rooms may import from; the roof may from all.
    "rl_datasets": {"rl_datasets"},
    "builders": {"rl_datasets"},
    "learners": set(),
    "benchmarks": {"rl_datasets", "builders", "learners", "benchmarks"},
}
LEARNERS_MAY_USE = {"jax", "haiku", "optax", "numpy"} | set(sys.stdlib_module_names)
HEAVY = ("tensorflow", "apache_beam", "reverb", "gymnasium", "mujoco", "h5py", "jax", "rlds")

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in sorted(OURS)
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(module: str, for_types_alone: bool = True) -> set[str]:
    """What a module imports, at any depth of its code.

    Args:
      module: one of ours.
      for_types_alone: whether to include what it does not import when it runs.
    """
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    left_out = set()
    if not for_types_alone:
        blocks = [node for node in ast.walk(tree) if is_for_types_alone(node)]
        left_out = {inner for block in blocks for inner in ast.walk(block)}
    found = set()
    for node in set(ast.walk(tree)) - left_out:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively: name the module in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_for_types_alone(node: ast.AST) -> bool:
    if not isinstance(node, ast.If) or ast.unparse(node.test) != "TYPE_CHECKING":
        return False
    assert not node.orelse, "an `else` of TYPE_CHECKING would be taken for a part of it"
    return True


def our_imports(module: str, for_types_alone: bool = True) -> set[str]:
    """The modules of ours among what a module imports, itself left out."""
    found = set()
    for imported in imports(module, for_types_alone):
        if imported.split(".")[0] in OURS:
            while imported not in MODULES:  # It is a name in a module.
                imported = imported.rpartition(".")[0]
            found.add(imported)
    return found - {module}


def room_of(module: str) -> str:
    package, *rest = module.split(".")
    return package if package in ("builders", "learners") else ".".join([package, *rest[:1]])


def test_the_table_names_every_room():
    assert set(ROOMS) == {room_of(module) for module in MODULES}


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_down(room):
    """To rooms that stand before it in the table, so that there is no circle of rooms."""
    below = list(ROOMS)[: list(ROOMS).index(room)]
    assert {room_of(arrow) for arrow in ROOMS[room]} <= set(below)


@pytest.mark.parametrize("room", ROOMS)
def test_no_arrow_goes_up_to_another_package_but_the_roofs(room):
    packages = {arrow.split(".")[0] for arrow in ROOMS[room]}
    assert packages <= (OURS if room == ROOF else BELOW[room.split(".")[0]])


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_arrows(module):
    home = room_of(module)
    for imported in our_imports(module):
        if room_of(imported) != home:
            assert {imported, room_of(imported)} & ROOMS[home], (
                f"{module} imports {imported}; {home} may import only {sorted(ROOMS[home])}"
            )


def test_every_arrow_is_an_import():
    """So that the table says no more than there is."""
    taken = {(room_of(module), i) for module in MODULES for i in our_imports(module)}
    taken |= {(room, room_of(imported)) for room, imported in taken}
    assert {(room, arrow) for room in ROOMS for arrow in ROOMS[room]} <= taken


def test_no_modules_import_each_other_in_a_circle():
    """Not inside functions either; what is imported for types alone runs nothing."""
    graph = {module: our_imports(module, for_types_alone=False) for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # It raises an error that names the circle.


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) == "learners"])
def test_learners_use_jax_haiku_optax_and_numpy_alone(module):
    for imported in imports(module):
        assert imported.split(".")[0] in LEARNERS_MAY_USE | {"learners"}, imported


@pytest.mark.parametrize("module", ["rl_datasets", "rl_datasets.episode", "rl_datasets.cli"])
def test_importing_the_package_loads_nothing_heavy(module):
    script = f"import sys, {module}; print(sorted(set({HEAVY}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
