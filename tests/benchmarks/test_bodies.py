"""docs/bodies.md says what was measured."""

import json
import pathlib
import re

import numpy as np
import pytest

from benchmarks import bodies, partial_policies
from benchmarks.tables import page
from benchmarks.tables.reported import load_table
from benchmarks.training.results import read_results
from rl_datasets.collection import policies

PAGE = bodies.PAGE.read_text()
MEASURED = bodies.read()


def test_the_tables_are_those_of_the_results():
    tables = bodies.tables(MEASURED)
    assert (
        tables.keys()
        == MEASURED.keys()
        == {
            *("masses", "steps", "replays", "impedance", "policies"),
        }
    )
    assert page.filled(PAGE, tables) == PAGE


def test_the_pictures_are_those_of_the_results():
    for name, picture in bodies.pictures(MEASURED).items():
        assert f"images/bodies_{name}.svg" in PAGE
        assert (bodies.IMAGES / f"bodies_{name}.svg").read_text() == picture


def test_the_masses_are_those_of_the_bodies():
    for task, of in bodies.masses().items():
        for version, parts in of.items():
            assert parts == pytest.approx(MEASURED["masses"][task][version], abs=1e-12)


def test_every_part_is_weighed():
    kept = np.load(bodies.MUJOCO_210)
    for task, of in MEASURED["masses"].items():
        assert sum(of["v2"].values()) == pytest.approx(kept[f"{task}-v2/body_mass"].sum())


def test_one_step_is_measured_anew():
    kept = np.load(bodies.MUJOCO_210)
    again = bodies._steps(kept, "Hopper", "v4")["percentiles"]
    assert again == pytest.approx(MEASURED["steps"]["Hopper"]["v4"]["percentiles"], rel=1e-6)


def test_what_the_page_says_of_published_rows():
    of = dict(MEASURED["replays"])
    odd = of.pop("HalfCheetah: D4RL, halfcheetah_medium")
    for each in (odd, *of.values()):
        assert each["v2"]["terminals_differ"] == 0
    for each in of.values():  # "to the rounding of its storage"
        assert each["v2"]["percentiles"][1] <= 1e-5
        assert each["v4"]["percentiles"][0] >= 5e-3
    # "by less than a hundredth of what v4 is off"
    v2, v4 = (np.array(odd[version]["percentiles"]) for version in ("v2", "v4"))
    assert np.all(v2 < v4 / 100)
    assert MEASURED["impedance"]["extrapolated"]["percentiles"][1] <= 1e-5


def test_what_the_page_says_of_policies():
    hopper, cheetah = (
        bodies.means(f"{task}-v2/pure", MEASURED["policies"]) for task in ("Hopper", "HalfCheetah")
    )
    assert hopper["v2"] == pytest.approx(hopper["authors"], rel=0.02)
    assert hopper["v4"] < 0.9 * hopper["v2"]
    assert cheetah["v2"] == pytest.approx(cheetah["v4"], rel=0.01)
    assert cheetah["v2"] == pytest.approx(cheetah["authors"], rel=0.02)


def test_what_the_page_says_of_all_the_cloned_policies():
    of = MEASURED["policies"]
    assert of.keys() == {f"{cell}/{seed}" for cell in bodies.CLONED for seed in bodies.SEEDS}
    assert len(of) == 50
    for cell in bodies.CLONED:  # "on every data set v2 is nearer"
        assert bodies.off(cell, "v2", of) < bodies.off(cell, "v4", of)
    off = {version: bodies.off("Hopper-v2", version, of) for version in bodies.VERSIONS}
    assert f"off by {off['v2']:.0f} in v2, and by {off['v4']:.0f} in v4" in PAGE
    hopping = [
        each for cell, each in of.items() if cell.startswith("Hopper") and each["authors"] > 400
    ]
    assert f"each of the {len(hopping)} policies" in PAGE
    for each in hopping:
        assert each["v4"]["mean"] < each["authors"]
    largest = max(each["v2"]["standard_error"] for each in of.values())
    assert f"a standard error of up to {largest:.0f}" in PAGE.replace("\n", " ")


@pytest.mark.tensorflow
def test_a_cloned_policy_is_measured_anew(shared):
    source = policies.load_policy(shared / "brac/Hopper-v2/eps3/n1000000/bc/0/2/agent")
    again = partial_policies.measure(source, "Hopper-v2", 20, 2)
    assert again == pytest.approx(MEASURED["policies"]["Hopper-v2/eps3/2"]["v2"], rel=1e-4)


def test_the_code_of_the_page_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})


def test_the_capsule_and_its_cylinder_by_hand():
    # r = 1, 2h = 3: the capsule has 3 pi + 4/3 pi, the cylinder 3 pi + pi.
    model = bodies.environments.make_gymnasium("Hopper-v4").unwrapped.model
    foot = model.body("foot")
    radius, half = model.geom("foot_geom").size[:2]
    density = foot.mass[0] / (np.pi * radius**2 * (2 * half + 4 / 3 * radius))
    assert density == pytest.approx(1000)
    old = MEASURED["masses"]["Hopper"]["v2"]["foot"]
    assert old == pytest.approx(density * np.pi * radius**2 * (2 * half + radius))


def test_the_shipped_policies_say_what_they_return():
    folder = policies.partial_policy_path("Hopper-v2").parent
    readme = (folder / "README.md").read_text()
    for task in bodies.TASKS:
        returns = json.loads((folder / f"{task}.json").read_text())["returns"]
        cells = [
            f"{of['mean']:,.0f} ± {of['standard_error']:.0f}"
            for of in (returns[f"{task}-{version}"] for version in partial_policies.VERSIONS)
        ]
        (row,) = re.findall(rf"^\| {task} \|.*$", readme, re.MULTILINE)
        assert row.endswith(f"| {' | '.join(cells)} |")


def test_a_policy_is_measured_by_its_mode():
    layers = [(np.zeros((11, 6), np.float32), np.zeros(6, np.float32))]
    source = policies.PolicySource(layers, "by", ())
    first, again = (partial_policies.measure(source, "Hopper-v2", 2) for _ in range(2))
    assert first == again
    assert first["mean"] > 0
    act = partial_policies.act_by_mode(source, "Hopper-v2")
    assert not act(np.ones((3, 11), np.float32)).any()


def test_the_page_names_files_that_are_there():
    root = pathlib.Path(bodies.ROOT)
    for path in re.findall(r"`((?:benchmarks|tests|rl_datasets)/[\w/.]+)`", PAGE):
        assert (root / path).exists(), path


def test_what_the_page_says_of_cloning_trained_anew():
    for task, told in (("Hopper", "1,347"), ("HalfCheetah", "4,492")):
        lines = read_results(bodies.FOLDER.parent / "brac_bc" / f"{task}-v2-pure.jsonl")
        assert {(line["environment"], line["steps"]) for line in lines} == {(f"{task}-v2", 500_000)}
        last = [
            np.mean([np.mean(x["returns"]) for x in lines if x["seed"] == seed][-10:])
            for seed in range(5)
        ]
        assert f"{np.mean(last):,.0f}" == told
        assert told in PAGE
        reported = load_table("brac_bc").rows[f"{task}-v2/pure"].scores["last_10"].mean
        assert f" {reported:,.0f}" in PAGE


@pytest.mark.parametrize("task", ["halfcheetah", "hopper", "walker2d"])
def test_what_the_page_says_of_d4rls_policies(task):
    comparison = bodies.FOLDER.parent / "d4rl_comparison" / f"{task}-medium-v2.md"
    (told,) = re.findall(r"\| return \| (\S+) ", comparison.read_text())
    assert told in PAGE
