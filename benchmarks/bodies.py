"""`python -m benchmarks.bodies FOLDER`: measures gym's v2 bodies, for docs/bodies.md.

    masses     the mass of every body part, in v2 and in v4
    steps      one step, compared with MuJoCo 2.1.0's own, which is stored with the tests
    replays    one step from every row of published slices of D4RL and of BRAC's saved data
    impedance  the one slice that the v2 body does not reproduce, without a least impedance
    policies   BRAC's cloned policies in both bodies, compared with the authors' last evaluations

FOLDER holds `d4rl/<file>.hdf5`, `brac/<environment>/<data set>/n1000000/bc/0/<seed>/agent` and
`brac_testdata`, as their projects published them. Each part writes a JSON file under
`benchmarks/results/bodies`. From these come the tables of docs/bodies.md, between marks with their
names, and its pictures, `docs/images/bodies_*.svg`. The same files give the same bytes.
"""

from __future__ import annotations

import csv
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import partial_policies
from benchmarks.tables import figures, page
from rl_datasets import files
from rl_datasets.collection import bodies, environments, policies, which_body

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "results" / "bodies"
PAGE = ROOT / "docs" / "bodies.md"
IMAGES = ROOT / "docs" / "images"
MUJOCO_210 = ROOT / "tests" / "rl_datasets" / "collection" / "mujoco_210.npz"
REPORTED = ROOT / "benchmarks" / "reported" / "brac_bc_curves.csv"

TASKS = tuple(name.rpartition("-")[0] for name in bodies.ENVIRONMENTS)
VERSIONS = ("v2", "v4")
PERCENTILES = (50, 90, 100)
CURVE = tuple(range(0, 101, 2))  # the percentiles that a picture shows
SLICES = {
    "HalfCheetah": "halfcheetah",
    "Hopper": "hopper",
    "Walker2d": "walker2d",
}
FILES = ("medium", "random-v1", "medium_replay-v1", "medium-v2")
V0 = "HalfCheetah: D4RL, halfcheetah_medium"
BRAC_DATA = "brac_testdata/data/HalfCheetah-v2/example/0/data"
MIXTURES = ("pure", "eps1", "eps3", "gaussian1", "gaussian3")
CLONED = tuple(f"{task}-v2/{mixture}" for task in ("HalfCheetah", "Hopper") for mixture in MIXTURES)
EPISODES = dict.fromkeys(CLONED, 20) | {"Hopper-v2/pure": 200}  # for each policy and body
SEEDS = range(5)
LEAST_IMPEDANCE = 1e-4  # mjMINIMP, in 2.1.0 as today

Results = Mapping[str, Any]


def masses() -> Results:
    """The mass of every body part in kg, by task, version and part."""
    return {task: {v: _masses(f"{task}-{v}") for v in VERSIONS} for task in TASKS}


def _masses(environment: str) -> dict[str, float]:
    made = environments.make_gymnasium(environment)
    model: Any = made.unwrapped.model  # type: ignore[attr-defined]
    parts = {_part(model, i): float(model.body_mass[i]) for i in range(1, model.nbody)}
    made.close()
    return parts


def _part(model: Any, body: int) -> str:
    """The part's name; Ant's shins have none, so they are named after the part above them."""
    parent = model.body(model.body_parentid[body])
    return model.body(body).name or f"below {parent.name}"


def steps() -> Results:
    """Errors of velocities after one step, relative to MuJoCo 2.1.0's, by task and version."""
    kept = np.load(MUJOCO_210)
    return {task: {v: _steps(kept, task, v) for v in VERSIONS} for task in TASKS}


def _steps(kept: Mapping[str, np.ndarray], task: str, version: str) -> dict[str, Any]:
    made = environments.make_gymnasium(f"{task}-{version}")
    of = {name: kept[f"{task}-v2/{name}"] for name in ("qpos", "qvel", "action", "next_qvel")}
    found = []
    for qpos, qvel, action, expected in zip(*of.values(), strict=True):
        which_body.step(made, qpos, qvel, action)
        data: Any = made.unwrapped.data  # type: ignore[attr-defined]
        found.append(np.abs(data.qvel - expected).max())
    made.close()
    return _spread(np.array(found))


def replays(shared: pathlib.Path) -> Results:
    """Errors of one step from each row of every slice, in both bodies."""
    sources = {
        f"{task}: D4RL, {SLICES[task]}_{file}": (task, shared / f"d4rl/{SLICES[task]}_{file}.hdf5")
        for task in SLICES
        for file in FILES
    }
    sources["HalfCheetah: BRAC, example"] = ("HalfCheetah", shared / BRAC_DATA)
    return {name: _replays(*source) for name, source in sources.items()}


def _replays(task: str, source: pathlib.Path) -> dict[str, Any]:
    taken = which_body.steps_of(which_body.read_episodes(source), task)
    errors: dict[str, Any] = {"steps": len(taken), "stored_states": int(taken.is_stored.sum())}
    for version in VERSIONS:
        compared = which_body.compare(f"{task}-{version}", taken)
        errors[version] = {
            **_spread(compared.error),
            "rewards": float(compared.reward_error.max()),
            "terminals_differ": int(compared.terminals_differ.sum()),
        }
    return errors


def impedance(shared: pathlib.Path) -> Results:
    """Errors of HalfCheetah's v0 rows in v2, without a lower bound on the impedance of constraints.

    HalfCheetah's file asks for impedances from 0 on, but MuJoCo allows none below 1e-4. The step
    without this bound is extrapolated from steps with 1, 2 and 3 times 1e-4.
    """
    source = shared / "d4rl" / "halfcheetah_medium.hdf5"
    taken = which_body.steps_of(which_body.read_episodes(source), "HalfCheetah")
    one, two, three = (_seen(taken, times * LEAST_IMPEDANCE) for times in (1, 2, 3))
    return {"extrapolated": _spread(np.abs(3 * one - 3 * two + three - taken.seen).max(axis=1))}


def _seen(taken: which_body.Steps, least: float) -> np.ndarray:
    """HalfCheetah-v2's observations after each step, with no impedance below `least`."""
    made = environments.make_gymnasium("HalfCheetah-v2")
    model: Any = made.unwrapped.model  # type: ignore[attr-defined]
    model.geom_solimp[:, 0] = model.jnt_solimp[:, 0] = least
    states = zip(taken.qpos, taken.qvel, taken.action, strict=True)
    seen = np.array([which_body.step(made, *state)[0] for state in states])
    made.close()
    return seen


def cloned(shared: pathlib.Path) -> Results:
    """Returns of the mode of every cloned policy in both bodies, and those its authors measured."""
    with open(REPORTED, newline="", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    found: dict[str, Any] = {}
    for cell, episodes in EPISODES.items():
        task = cell.partition("-")[0]
        for seed in SEEDS:
            agent = shared / "brac" / cell / f"n1000000/bc/0/{seed}/agent"
            source = policies.load_policy(agent)
            found[f"{cell}/{seed}"] = {
                "authors": float(last[f"{cell}/{seed}"]),
                **{
                    version: partial_policies.measure(source, f"{task}-{version}", episodes, seed)
                    for version in VERSIONS
                },
            }
    return found


def _spread(error: np.ndarray) -> dict[str, Any]:
    return {
        "percentiles": [float(each) for each in np.percentile(error, PERCENTILES)],
        "curve": [float(f"{each:.3g}") for each in np.percentile(error, CURVE)],
    }


def read() -> dict[str, Any]:
    """All saved results, by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.json"))
    }


def tables(measured: Results) -> dict[str, str]:
    """The tables of docs/bodies.md, as Markdown."""
    return {
        "masses": page.table(
            ["task", "part", "v2, kg", "v4, kg", "change"],
            [row for task in TASKS for row in _mass_rows(task, measured["masses"][task])],
        ),
        "steps": page.table(
            ["task", "v2: median", "90%", "largest", "v4: median", "90%", "largest"],
            [
                [task, *_errors(of["v2"]), *_errors(of["v4"])]
                for task, of in measured["steps"].items()
            ],
        ),
        "replays": page.table(
            [
                *("rows", "steps", "v2: median", "90%", "largest", "rewards"),
                *("v4: median", "90%", "largest", "rewards"),
            ],
            [
                [
                    name,
                    f"{of['steps']:,}",
                    *_errors(of["v2"]),
                    _power(of["v2"]["rewards"]),
                    *_errors(of["v4"]),
                    _power(of["v4"]["rewards"]),
                ]
                for name, of in measured["replays"].items()
            ],
        ),
        "impedance": page.table(
            ["`halfcheetah_medium` of v0, in v2", "median", "90%", "largest"],
            [
                ["as it is", *_errors(measured["replays"][V0]["v2"])],
                ["without a least impedance", *_errors(measured["impedance"]["extrapolated"])],
            ],
        ),
        "policies": page.table(
            ["data set", "authors", "v2", "v4", "off by, in v2", "in v4"],
            [_cloned_row(cell, measured["policies"]) for cell in CLONED],
        ),
    }


def _mass_rows(task: str, of: Results) -> list[list[str]]:
    def row(part: str, old: float, new: float) -> list[str]:
        return [task, part, f"{old:.4g}", f"{new:.4g}", f"{new / old - 1:+.1%}"]

    total = row("all", sum(of["v2"].values()), sum(of["v4"].values()))
    return [total, *(row(part, *kilograms) for part, *kilograms in _parts(of))]


def _parts(of: Results) -> list[tuple[str, float, float]]:
    """A body's parts, with their masses in v2 and v4; parts of equal mass share one entry."""
    names: dict[tuple[float, float], list[str]] = {}
    for name, mass in of["v2"].items():
        names.setdefault((round(mass, 9), round(of["v4"][name], 9)), []).append(name)
    return [(", ".join(same), *masses) for masses, same in names.items()]


def pictures(measured: Results) -> dict[str, str]:
    """The pictures of docs/bodies.md, as SVG."""
    labels = {"v2": "v2 (MuJoCo 2.1.0)", "v4": "v4 (today)"}
    weights, distances = [], []
    for task in TASKS:
        parts, *kilograms = zip(*_parts(measured["masses"][task]), strict=True)
        short = [part if "," not in part else f"{part.partition(',')[0]} ..." for part in parts]
        groups = dict(zip(labels.values(), kilograms, strict=True))
        weights.append(figures.BarPanel(task, short, groups, "kg"))
        published = measured["replays"].get(f"{task}: D4RL, {SLICES.get(task)}_medium-v2")
        of, title = (
            (published, f"{task}: rows of D4RL's medium-v2")
            if published
            else (measured["steps"][task], f"{task}: steps of MuJoCo 2.1.0")
        )
        curves = {labels[v]: (np.array(of[v]["curve"]), np.array(CURVE)) for v in VERSIONS}
        distances.append(figures.SharePanel(title, curves, "largest error after one step"))
    drawn = {"masses": figures.bars(weights), "steps": figures.shares(distances)}
    return {name: figures.svg(figure) for name, figure in drawn.items()}


def _cloned_row(cell: str, measured: Results) -> list[str]:
    mean = {name: f"{of:,.0f}" for name, of in means(cell, measured).items()}
    for version in VERSIONS:
        errors = [measured[f"{cell}/{seed}"][version]["standard_error"] for seed in SEEDS]
        mean[version] += f" ± {np.sqrt(np.sum(np.square(errors))) / len(errors):.0f}"
    return [cell, *mean.values(), *(f"{off(cell, v, measured):,.0f}" for v in VERSIONS)]


def means(cell: str, measured: Results) -> dict[str, float]:
    """Mean returns over the seeds of a data set: the authors' evaluation, in v2 and in v4."""
    of = [measured[f"{cell}/{seed}"] for seed in SEEDS]
    return {
        "authors": float(np.mean([each["authors"] for each in of])),
        **{v: float(np.mean([each[v]["mean"] for each in of])) for v in VERSIONS},
    }


def off(cells: str, version: str, measured: Results) -> float:
    """The mean distance of these policies' returns from their authors' evaluations."""
    of = [each for name, each in measured.items() if name.startswith(f"{cells}/")]
    return float(np.mean([abs(each[version]["mean"] - each["authors"]) for each in of]))


def _errors(of: Results) -> list[str]:
    return [_power(error) for error in of["percentiles"]]


def _power(error: float) -> str:
    return f"{error:.0e}".replace("e-0", "e-").replace("e+00", "").replace("e+0", "e")


def main(
    shared: Annotated[pathlib.Path, typer.Argument(help="Folder of the published files.")],
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="masses, steps, replays, impedance or policies."),
    ] = None,
) -> None:
    """Measures and writes the results, and then the page's tables and pictures from them."""
    measure: dict[str, Callable[[], Results]] = {
        "masses": masses,
        "steps": steps,
        "replays": functools.partial(replays, shared),
        "impedance": functools.partial(impedance, shared),
        "policies": functools.partial(cloned, shared),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in parts or measure:
        lines = [f"{json.dumps(key)}: {json.dumps(of)}" for key, of in measure[name]().items()]
        files.write(FOLDER / f"{name}.json", "{\n" + ",\n".join(lines) + "\n}\n")
    measured = read()
    for name, svg in pictures(measured).items():
        files.write(IMAGES / f"bodies_{name}.svg", svg)
    files.write(PAGE, page.filled(PAGE.read_text(encoding="utf-8"), tables(measured)))


if __name__ == "__main__":
    typer.run(main)
