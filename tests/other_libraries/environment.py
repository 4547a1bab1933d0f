"""Runs the scripts of this folder, each of which reads with a library what this project wrote.

They import nothing of this project. A script runs in this environment if it has the library, or
else in that of the Python that `RL_DATASETS_OTHER_PYTHON` names: some libraries do not fit beside
TensorFlow 2.15.
"""

import functools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent
OTHER_PYTHON = "RL_DATASETS_OTHER_PYTHON"
OLDEST = {  # The oldest version of each package that reads what is written for it.
    "datasets": "4.0",
    "minari": "0.5.4",
    "mlcroissant": "1.0.17",
    "tensorflow-datasets": "4.9.9",
    "torch": "2.0",
}
FIND = """
import importlib.metadata, re, sys
name, oldest = sys.argv[1:]
found = [int(number) for number in re.findall(r"\\d+", importlib.metadata.version(name))]
sys.exit(found < [int(number) for number in oldest.split(".")])
"""


def read_with(library: str, script: str, out: pathlib.Path, *arguments: object) -> dict:
    """The arrays that a script leaves in `out`, by name; skips where nothing has the library.

    Args:
      library: the package that the script needs, one of `OLDEST`.
      script: its name in this folder.
      out: the file that it writes, its first argument.
      arguments: its further arguments.
    """
    python = python_with(library)
    if python is None:
        wanted = f"{library}>={OLDEST[library]}"
        pytest.skip(f"{wanted}: install it here, or name a Python that has it in {OTHER_PYTHON}")
    command = [python, "-P", str(FOLDER / f"{script}.py"), str(out), *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent / "huggingface")}
    done = subprocess.run(
        command, cwd=out.parent, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(out) as arrays:
        return dict(arrays)


@functools.cache
def python_with(library: str) -> str | None:
    """A Python that has the package, this one if it does."""
    for python in (sys.executable, os.environ.get(OTHER_PYTHON)):
        if python is not None:
            command = [python, "-c", FIND, library, OLDEST[library]]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return python
    return None
