"""`python -m tests.parity [name ...]` writes the values that peers give, `values/<name>.npz`.

The scripts beside this file import nothing of this project. Each runs in its peer's own
environment, which is made on the first call, and writes initial weights, a batch, and what one
update makes of them. `tests/learners/test_parity.py` holds the learners to these.
"""

import pathlib
import subprocess
import sys

from benchmarks.speed.learners import D3RLPY, TIANSHOU, peer_python

FOLDER = pathlib.Path(__file__).parent
SCRIPTS = {
    "bcq": D3RLPY,
    "cql": D3RLPY,
    "iql": D3RLPY,
    "rebrac": D3RLPY,
    "tianshou_bcq": TIANSHOU,
    "tianshou_cql": TIANSHOU,
    "tianshou_il": TIANSHOU,
    "tianshou_td3_bc": TIANSHOU,
}


def main(names: list[str]) -> None:
    for name in names or SCRIPTS:
        python = peer_python(SCRIPTS[name])
        command = [python, FOLDER / f"{name}.py", FOLDER / "values" / f"{name}.npz"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
