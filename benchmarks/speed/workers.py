"""How learners are timed beside those of other projects, each in a process and an environment.

A worker is a process with its number of threads. Workers take turns, so that all meet the same
machine, and the best of a worker's turns counts. The anchor is the fastest peer, with the number of
threads that suits it best.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.speed.rates import SAMPLED

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS, D3RLPY, TIANSHOU = "ours", "d3rlpy==2.8.1", "tianshou==2.0.1"
PEAKS = ("peak_numpy", "peak_jax")  # of a matrix product, in GFLOP/s

Best = Mapping[tuple[str, str, int], float]  # rate of (whose, name, threads)


def best_rates(
    scripts: Mapping[str, str], names: Mapping[str, Sequence[str]], turns: int, seconds: float
) -> Best:
    """The best of several rates by (whose, name, threads), with one thread and with all.

    Args:
      scripts: in this folder, of `OURS` and of the peers, which are installed on the first call.
      names: what each is asked; those of `OURS` say the order.
      turns: how often each is asked.
      seconds: for each answer.
    """
    best: dict[tuple[str, str, int], float] = {}
    with contextlib.ExitStack() as stack:
        workers = {
            (who, n): stack.enter_context(Worker.start([*_command(who, script), str(n)]))
            for who, script in scripts.items()
            for n in thread_counts()
        }
        for _ in range(turns):
            for name in names[OURS]:
                for (who, n), worker in workers.items():
                    if name in names[who]:
                        rate = worker.rate(name, seconds)
                        best[who, name, n] = max(rate, best.get((who, name, n), 0.0))
    return best


def thread_counts() -> list[int]:
    """One, and as many as there are cores."""
    return sorted({1, len(os.sched_getaffinity(0))})


def beside_peers(best: Best, name: str, peers: Iterable[str]) -> Iterator[dict]:
    """Rows of one learner's steps a second beside the fastest peer, and of every peer."""
    rates = {(who, n): rate for (who, what, n), rate in best.items() if what == name}
    of_peers = {(who, n): rate for (who, n), rate in rates.items() if who in peers}
    peer, anchor_threads = max(of_peers, key=of_peers.__getitem__)
    anchor = of_peers[peer, anchor_threads]
    note = f"{peer}, {anchor_threads} threads: {anchor:.0f}"
    for (who, n), steps in rates.items():
        if who == OURS:
            yield row(f"{label(name)}, {n} threads", steps, "steps/s", note, steps / anchor)
    for (who, n), steps in of_peers.items():
        yield row(f"{label(name)}, {who}, {n} threads", steps, "steps/s")


def matrix_products(best: Best) -> dict[int, float]:
    """GFLOP/s of the machine's best matrix product by the number of threads."""
    counts = {n for who, name, n in best if name in PEAKS}
    return {n: max(best[OURS, name, n] for name in PEAKS) for n in sorted(counts)}


def sampled(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(SAMPLED + name for name in names)


def label(name: str) -> str:
    if name.startswith(SAMPLED):
        return f"{name.removeprefix(SAMPLED)} with sampling"
    return f"{name} update alone"


def row(name: str, value: float, unit: str, anchor: str = "", ratio: float | None = None) -> dict:
    return {"name": name, "value": value, "unit": unit, "anchor": anchor, "ratio": ratio}


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


def _command(who: str, script: str) -> list[str]:
    if who == OURS:
        return [sys.executable, "-m", f"benchmarks.speed.{script}"]
    return [str(peer_python(who)), str(ROOT / f"benchmarks/speed/{script}.py")]


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
