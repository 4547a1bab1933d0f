"""Update steps a second of the learners beside those of d3rlpy and Tianshou.

Batch 256, 17 observations, 6 actions, two hidden layers of 256 (BRAC's cloning: 200), ReBRAC's
critics with layer normalisation, CQL with 10 actions of each of its three sources and a Lagrange
threshold, and BCQ with the 100 proposals at the next state that d3rlpy has. Every worker is a
process with its number of threads; they take turns, so that all meet the same machine, and the best
of the turns counts. The anchor is the fastest peer, with the number of threads that suits it best.
"With sampling", a step draws its batch from 100,000 transitions in memory: d3rlpy from its dataset,
Tianshou from its replay buffer, ours from an `ArrayFeed`. Otherwise batches are sampled beforehand.

Tianshou has neither IQL nor ReBRAC. Its BCQ leaves the proposals at the next state unperturbed,
which is a quarter less to do: `bcq_unperturbed` is ours without, and stands beside it; `bcq` stands
beside d3rlpy's. Tianshou's CQL goes back through the critics once more than it has to, for the
multiplier alone.

The matrix product that this machine does best is the other anchor.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.speed.rates import BATCH_SIZE, SAMPLED
from learners import bc, cql, rebrac, td3_bc

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPARED = ("td3_bc", "bc", "iql", "cql", "rebrac", "bcq", "bcq_unperturbed", "sac")
D3RLPY, TIANSHOU = "d3rlpy==2.8.1", "tianshou==2.0.1"
PEERS = {
    D3RLPY: ("td3_bc", "bc", "iql", "cql", "rebrac", "bcq", "sac"),
    TIANSHOU: ("td3_bc", "bc", "cql", "bcq_unperturbed", "sac"),
}
OURS = "ours"
PEAKS = ("peak_numpy", "peak_jax")


def measure(quick: bool = False) -> list[dict]:
    """Rows of name, value, unit, anchor and ratio; the peers are installed on the first call."""
    turns, seconds = (1, 0.5) if quick else (5, 1.0)
    threads = sorted({1, len(os.sched_getaffinity(0))})
    commands = {OURS: [sys.executable, "-m", "benchmarks.speed.learner_steps"]}
    for peer in PEERS:
        script = ROOT / f"benchmarks/speed/{package(peer)}_steps.py"
        commands[peer] = [str(peer_python(peer)), str(script)]
    names = {OURS: (*COMPARED, "brac_bc"), **PEERS}
    timed = {who: (*sampled(of), *of) for who, of in names.items()}
    timed[OURS] += PEAKS
    best: dict[tuple[str, str, int], float] = {}
    with contextlib.ExitStack() as stack:
        workers = {
            (who, n): stack.enter_context(Worker.start([*command, str(n)]))
            for who, command in commands.items()
            for n in threads
        }
        for _ in range(turns):
            for name in timed[OURS]:
                for (who, n), worker in workers.items():
                    if name in timed[who]:
                        rate = worker.rate(name, seconds)
                        best[who, name, n] = max(rate, best.get((who, name, n), 0.0))
    return list(rows(best, threads))


def rows(best: dict[tuple[str, str, int], float], threads: Sequence[int]) -> Iterator[dict]:
    """The table's rows from the best rates by (whose, name, threads)."""
    peaks = {n: max(best[OURS, name, n] for name in PEAKS) for n in threads}
    for n in threads:
        yield row(f"matrix product 256x256x256, {n} threads", peaks[n], "GFLOP/s")
    for name in (*sampled(COMPARED), *COMPARED):
        rates = {
            (peer, n): best[peer, name, n]
            for peer in PEERS
            for n in threads
            if (peer, name, n) in best
        }
        peer, anchor_threads = max(rates, key=rates.__getitem__)
        anchor = rates[peer, anchor_threads]
        note = f"{peer}, {anchor_threads} threads: {anchor:.0f}"
        for n in threads:
            steps = best[OURS, name, n]
            yield row(f"{label(name)}, {n} threads", steps, "steps/s", note, steps / anchor)
        for (peer, n), steps in rates.items():
            yield row(f"{label(name)}, {peer}, {n} threads", steps, "steps/s")
    for n in threads:
        steps = best[OURS, SAMPLED + "brac_bc", n]
        yield row(f"{label(SAMPLED + 'brac_bc')}, {n} threads", steps, "steps/s")
    for name in (*COMPARED, "brac_bc"):
        for n in threads:
            achieved = best[OURS, name, n] * flop(name) / 1e9
            note = f"matrix product {peaks[n]:.0f}"
            yield row(f"{label(name)}, {n} threads", achieved, "GFLOP/s", note, achieved / peaks[n])


def sampled(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(SAMPLED + name for name in names)


def label(name: str) -> str:
    if name.startswith(SAMPLED):
        return f"{name.removeprefix(SAMPLED)} with sampling"
    return f"{name} update alone"


def row(name: str, value: float, unit: str, anchor: str = "", ratio: float | None = None) -> dict:
    return {"name": name, "value": value, "unit": unit, "anchor": anchor, "ratio": ratio}


def flop(name: str) -> float:
    """Floating-point operations of the matrix products of one step: nothing else is counted."""

    def forward(*sizes: int) -> int:
        return sum(a * b for a, b in itertools.pairwise(sizes))

    def trained(*sizes: int) -> int:  # forward, gradient of weights, gradient of all inputs but x
        return 3 * forward(*sizes) - sizes[0] * sizes[1]

    hidden = td3_bc.Config().hidden_sizes
    assert hidden == bc.Config().hidden_sizes
    q, v, pi, gaussian = (23, *hidden, 1), (17, *hidden, 1), (17, *hidden, 6), (17, *hidden, 12)
    encoder, decoder, perturbation = (23, *hidden, 24), (29, *hidden, 6), (23, *hidden, 6)
    through_q = 2 * forward(*q)  # forward, and the gradient of the action
    bcq_unperturbed = (
        trained(*encoder)
        + trained(*decoder)
        + 12 * hidden[0]  # the gradient of the latents
        + 100 * (forward(*decoder) + 2 * forward(*q))
        + 2 * trained(*q)
        + forward(*decoder)
        + trained(*perturbation)
        + through_q
    )
    products = {
        "bc": trained(*pi),
        # The policy's step, every other one, goes through the first critic alone.
        "td3_bc": forward(*pi)
        + 2 * forward(*q)
        + 2 * trained(*q)
        + (trained(*pi) + through_q) / td3_bc.Config().policy_delay,
        "iql": trained(*v) + 2 * forward(*v) + 2 * forward(*q) + trained(*pi) + 2 * trained(*q),
        "cql": 2 * forward(*gaussian)
        + 2 * forward(*q)
        + 2 * (1 + 3 * cql.Config().num_actions) * trained(*q)
        + trained(*gaussian)
        + 2 * through_q,
        # As TD3+BC's, but through both critics.
        "rebrac": forward(*pi)
        + 2 * forward(*q)
        + 2 * trained(*q)
        + (trained(*pi) + 2 * through_q) / rebrac.Config().policy_delay,
        "bcq": bcq_unperturbed + 100 * forward(*perturbation),
        "bcq_unperturbed": bcq_unperturbed,
        "sac": forward(*gaussian)
        + 2 * forward(*q)
        + 2 * trained(*q)
        + trained(*gaussian)
        + 2 * through_q,
        "brac_bc": trained(17, 200, 200, 12),
    }
    return 2 * BATCH_SIZE * products[name]


class Worker:
    """A process that answers one rate at a time."""

    def __init__(self, process: subprocess.Popen):
        self._process = process
        self._answer("ready")

    @classmethod
    @contextlib.contextmanager
    def start(cls, command: list[str]) -> Iterator[Worker]:
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def rate(self, name: str, seconds: float) -> float:
        assert self._process.stdin
        self._process.stdin.write(f"{name} {seconds}\n")
        self._process.stdin.flush()
        return float(self._answer("rate"))

    def _answer(self, word: str) -> str:
        assert self._process.stdout
        for line in self._process.stdout:  # libraries print lines of their own
            if line.startswith(word):
                return line.removeprefix(word)
        raise RuntimeError(f"a benchmark's worker ended: {self._process.args!r}")


def package(peer: str) -> str:
    return peer.partition("==")[0]


def peer_python(peer: str) -> pathlib.Path:
    """The interpreter of a peer's own environment, made on demand with uv.

    Args:
      peer: a pinned package, and after it, pins of what it needs.
    """
    environment = ROOT / f".venv-{package(peer)}"
    python = environment / "bin" / "python"
    mark = environment / ".installed"
    if not mark.exists():
        uv = pathlib.Path(sys.executable).with_name("uv")
        command = str(uv) if uv.exists() else "uv"
        subprocess.run(
            [command, "venv", "--clear", "--python", sys.executable, str(environment)],
            check=True,
        )
        subprocess.run(
            [command, "pip", "install", "--system-certs", "--python", str(python), *peer.split()],
            check=True,
        )
        mark.touch()
    return python
