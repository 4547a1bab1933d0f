"""`python -m tests.parity [name ...]` writes the values that d3rlpy gives, `values/<name>.npz`.

The scripts beside this file import nothing of this project; each runs in d3rlpy's own environment,
which is made on the first call, and writes initial weights, a batch, and what one update makes of
them. `tests/learners/test_parity.py` holds the learners to these.
"""

import pathlib
import subprocess
import sys

from benchmarks.speed.learners import D3RLPY, peer_python

FOLDER = pathlib.Path(__file__).parent
SCRIPTS = ("bcq", "cql", "iql", "rebrac")


def main(names: list[str]) -> None:
    for name in names or SCRIPTS:
        command = [peer_python(D3RLPY), FOLDER / f"{name}.py", FOLDER / "values" / f"{name}.npz"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
