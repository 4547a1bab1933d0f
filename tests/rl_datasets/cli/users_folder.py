"""What the tests of the command line collect and publish."""

import pathlib

DATASET = "hopper-v4-eps1-recollected-n300-seed4"
COLLECT = ["Hopper-v4", "eps1", "collected", "--transitions", "300", "--seed", "4"]
PUBLISHED = f"published/brac/{DATASET}/2.0.0"
DATA_DIR = ["--data-dir", "published"]
NEWEST = "synthetic/mine:1.10.0"


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}
