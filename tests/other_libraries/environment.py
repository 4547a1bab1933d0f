"""Runs the scripts of this folder, each of which reads with a library what this project wrote.

They import nothing of this project. A script runs in this environment if it has the library, or
else in that of the Python that `RL_DATASETS_OTHER_PYTHON` names: some libraries do not fit beside
TensorFlow 2.15.
"""

import functools
import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent
OTHER_PYTHON = "RL_DATASETS_OTHER_PYTHON"


def read_with(library: str, script: str, out: pathlib.Path, *arguments: object) -> dict:
    """The arrays that a script leaves in `out`, by name; skips where nothing has the library.

    Args:
      library: the module that the script needs.
      script: its name in this folder.
      out: the file that it writes, its first argument.
      arguments: its further arguments.
    """
    python = python_with(library)
    if python is None:
        pytest.skip(f"{library}: install it here, or name a Python that has it in {OTHER_PYTHON}")
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
    """A Python that has the module, this one if it does."""
    if importlib.util.find_spec(library) is not None:
        return sys.executable
    other = os.environ.get(OTHER_PYTHON)
    if other is None:
        return None
    find = f"import importlib.util as u; raise SystemExit(u.find_spec({library!r}) is None)"
    return other if subprocess.run([other, "-c", find]).returncode == 0 else None
