"""A folder of published datasets, and the site that shows it."""

import pathlib

import pytest

from rl_datasets.published import manifest
from rl_datasets.publishing.publish import publish
from rl_datasets.showing import site
from rl_datasets.showing.page import Score
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic

HOSTILE = "</script><script>document.title='hit'</script><b>&\"'"
LINEAGE = {
    "source": HOSTILE,
    "repaired": [f"`a` was repaired {HOSTILE}"],
    "known_defects": [HOSTILE],
    "citation": f"Cite {HOSTILE}",
    HOSTILE: {"a": HOSTILE},
}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """Two whole versions, one with a damaged shard, and one whose manifest is no JSON."""
    folder = tmp_path_factory.mktemp("showing") / "data"
    folder.mkdir()
    source = folder.parent / "source.bin"
    source.write_bytes(b"raw logs")
    sizes = {"few": 1, "many": 5, "broken": 2, "unreadable": 1}
    for config, count in sizes.items():
        units = [synthetic.unit(index, str(source)) for index in range(count)]
        made = Synthetic(units=units, config=config, lineage=LINEAGE, data_dir=folder)
        path = publish(made).path
        if config == "broken":
            shard = sorted(path.glob("*.tfrecord-*"))[1]
            content = bytearray(shard.read_bytes())
            content[len(content) // 2] ^= 1
            shard.write_bytes(content)
        if config == "unreadable":
            (path / manifest.FILE_NAME).write_text("{")
    return folder


def scores_on(name: str) -> list[Score]:
    if "many" not in name:
        return []
    return [Score(HOSTILE, "BC/many", "1.0 ± 0.1", "1.2", f"agrees {HOSTILE}", "another")]


@pytest.fixture(scope="session")
def made(data_dir) -> tuple[pathlib.Path, site.Written]:
    folder = data_dir.parent / "site"
    return folder, site.write(data_dir, folder, scores_on)
