"""README's and docs' examples run as they stand, and their numbers are those that were measured.

A document's commands run in an empty folder, and its code after them; README's also after what
`make quickstart` publishes.
"""

import functools
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from benchmarks import quickstart
from rl_datasets.collection import mixtures, naming, policies

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = {
    path.name: path.read_text()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
QUICKSTARTS = "halfcheetah-pure-recollected-n200000"
QUICKSTART = f"""
rl-datasets collect HalfCheetah-v2 pure quickstart --transitions 2000 --name {QUICKSTARTS}
rl-datasets publish brac quickstart
"""


def blocks(kind: str) -> list[tuple[str, str]]:
    """Names of documents, and the blocks of one kind that they hold, in order."""
    pattern = re.compile(rf"```{kind}\n(.*?)```", re.DOTALL)
    return [(name, block) for name, text in DOCUMENTS.items() for block in pattern.findall(text)]


CODE = blocks("python")
COMMANDS = [(name, block) for name, block in blocks("console") if "make " not in block]
LINKS = [
    (name, link)
    for name, text in DOCUMENTS.items()
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    if "://" not in link
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Gives the folder where a document's commands have been run."""

    @functools.cache
    def folder_of(document: str) -> pathlib.Path:
        folder = tmp_path_factory.mktemp(document)
        commands = [QUICKSTART] if document == "README.md" else []
        commands += [block for name, block in COMMANDS if name == document]
        run(["bash", "-euxc", "".join(commands)], folder)
        return folder

    return folder_of


def run(command: list[str], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_there_are_examples():
    assert {name for name, _ in CODE} == {
        "README.md",
        "atari_scores.md",
        "bodies.md",
        "d4rl.md",
        "learners.md",
        "load.md",
        "other_libraries.md",
    }
    assert {name for name, _ in COMMANDS} == {
        "README.md",
        "atari.md",
        "atari_scores.md",
        "d4rl.md",
        "learners.md",
        "load.md",
        "other_libraries.md",
        "publish.md",
        "reproduce.md",
    }


@pytest.mark.parametrize("document", sorted({name for name, _ in COMMANDS}))
def test_commands_run(document, folder_of):
    assert folder_of(document).is_dir()


def needed_by(code: str) -> list[pytest.MarkDecorator]:
    """The marks of an example, by what it imports."""
    marks = {
        "tensorflow_datasets": pytest.mark.tensorflow,
        "rl_datasets.serving.reverb": pytest.mark.reverb,
    }
    return [marks[module] for module in marks if re.search(rf"(import|from) {module}\b", code)]


@pytest.mark.parametrize(
    ("document", "code"),
    [pytest.param(name, code, id=name, marks=needed_by(code)) for name, code in CODE],
)
def test_code_runs_after_the_commands(document, code, folder_of):
    """And shows what it prints, and nothing else, but that gymnasium has newer versions."""
    for module in re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module}: install it here")
    result = run([sys.executable, "-c", code], folder_of(document))
    assert result.stdout.strip()
    assert re.sub(r".*Hopper-v2 is out of date.*\n.*\n", "", result.stderr) == ""


@pytest.mark.parametrize(("document", "link"), LINKS)
def test_a_link_leads_somewhere(document, link):
    folder = ROOT if document == "README.md" else ROOT / "docs"
    assert (folder / link).exists()


def test_the_glossary_has_ten_nouns_that_live_where_it_says():
    places = re.findall(r"^- \*\*\w+\*\* \(`(.+?)`\): ", DOCUMENTS["glossary.md"], re.MULTILINE)
    assert len(places) == 10
    assert all((ROOT / place).exists() for place in places)


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    """A docstring that does not parse is a warning; so is a link that leads nowhere."""
    site = tmp_path / "site"
    run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)], ROOT)
    pages = {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 20
    elsewhere = re.compile(r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="?(?:https?:)?//')
    assert [name for name, page in pages.items() if elsewhere.search(page)] == []
    assert 'id="rl_datasets.episode.Episode.from_transitions"' in pages["episode.html"]
    assert "with the final observation" in pages["episode.html"]


def test_readme_names_what_the_quickstart_publishes():
    size = quickstart.Size()
    mixture = mixtures.load_mixture(size.parts[0].mixture)
    source = policies.load_policy(policies.partial_policy_path(quickstart.ENVIRONMENT))
    name = naming.dataset_name(
        quickstart.ENVIRONMENT, mixture, source, size.transitions, quickstart.SEED
    )
    assert name == QUICKSTARTS
    assert f'"brac/{name}", data_dir=".data"' in README


def measured(room: str) -> dict[str, dict]:
    """The rows that a room of `make bench` saved, by name; the first of a name counts."""
    file = ROOT / f"benchmarks/results/speed/{room}.json"
    return {row["name"]: row for row in reversed(json.loads(file.read_text())["rows"])}


def test_the_quickstart_took_as_long_as_was_measured():
    lines = (ROOT / "benchmarks/results/quickstart.jsonl").read_text().splitlines()
    first, second = (json.loads(line)["seconds"] for line in lines)
    told = README.replace("\n", " ")
    assert f"took {first / 60:.1f} minutes after a minute of installing" in told
    assert f"and {second:.0f} seconds a second time" in told


def speed_rows() -> list[list[str]]:
    lines = [line for line in DOCUMENTS["speed.md"].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("cells", speed_rows(), ids=lambda cells: cells[1])
def test_a_speed_is_the_one_that_was_measured(cells):
    room, name, value, anchor, ratio = cells
    row = measured(room)[name]
    digits = 0 if row["value"] >= 10 else 2
    assert value == f"{row['value']:,.{digits}f} {row['unit']}"
    expected = row["anchor"]
    assert anchor == (f"{expected:,.0f}" if isinstance(expected, float) else expected)
    assert ratio == ("" if row["ratio"] is None else f"{row['ratio']:.2f}")
