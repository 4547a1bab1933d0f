"""`python -m tests.parity [name ...]` writes the values that peers give, `values/<name>.npz`.

The scripts beside this file import nothing of this project. Each runs in its peer's own
environment, which is made on the first call, and writes initial weights, a batch, and what one
update makes of them. `tests/learners/test_parity.py` holds the learners to these. That of Minari
writes datasets instead, and what its own reader reads of them.
"""

import pathlib
import subprocess
import sys

from benchmarks.speed.workers import D3RLPY, TIANSHOU, peer_python

DOPAMINE = "dopamine-rl==4.1.2 jax==0.4.38 flax==0.10.2"  # newer JAX has not what it imports
MINARI = "minari[hdf5]==0.5.4 pillow==13.0.0"
FOLDER = pathlib.Path(__file__).parent
SCRIPTS = {  # whose environment each runs in, the script, and its options
    "bcq": (D3RLPY, "bcq"),
    "cql": (D3RLPY, "cql"),
    "dopamine": (DOPAMINE, "dopamine_agents"),
    "dopamine_teacher": (DOPAMINE, "dopamine_teacher"),
    **{
        f"d3rlpy_discrete_{name}": (D3RLPY, "d3rlpy_discrete", name)
        for name in ("bc", "bcq", "cql")
    },
    "iql": (D3RLPY, "iql"),
    "minari": (MINARI, "minari_datasets"),
    "rebrac": (D3RLPY, "rebrac"),
    "students": (DOPAMINE, "students"),
    "tianshou_bcq": (TIANSHOU, "tianshou_bcq"),
    "tianshou_bcq_alike": (TIANSHOU, "tianshou_bcq", "alike"),
    "tianshou_cql": (TIANSHOU, "tianshou_cql"),
    **{
        f"tianshou_discrete_{name}": (TIANSHOU, "tianshou_discrete", name)
        for name in ("bcq", "cql", "crr", "crr_repaired", "il")
    },
    "tianshou_il": (TIANSHOU, "tianshou_il"),
    "tianshou_td3_bc": (TIANSHOU, "tianshou_td3_bc"),
}


def main(names: list[str]) -> None:
    for name in names or SCRIPTS:
        peer, script, *options = SCRIPTS[name]
        values = FOLDER / "values" / f"{name}.npz"
        command = [peer_python(peer), FOLDER / f"{script}.py", values, *options]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
