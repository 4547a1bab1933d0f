"""The folder of an online training run.

run.json  describes the run; a folder is never continued as another run
.lock     held while a process trains
"""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.training import run_folder
from rl_datasets import files, staging
from rl_datasets.errors import DatasetError


@contextlib.contextmanager
def opened(folder: pathlib.Path, identity: Mapping[str, Any]) -> Iterator[None]:
    """Creates the folder of a run if it does not exist, and locks it for this process.

    Args:
      folder: the folder.
      identity: a description of the run, as JSON.

    Raises:
      DatasetError: the folder holds another run or a damaged one, or another process trains in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with staging.lock(folder / ".lock", f"training in {folder}"):
        path = folder / run_folder.RUN
        text = json.dumps(identity, indent=2) + "\n"
        if not path.exists():
            files.write(path, text)
        before, now = run_folder.read_run(path), json.loads(text)
        differing = [name for name in now if before.get(name) != now[name]]
        if differing:
            raise DatasetError(
                f"{folder} holds a run whose {' and '.join(differing)} differ from this one's: "
                "delete that folder, run what it holds, or name another file"
            )
        yield
