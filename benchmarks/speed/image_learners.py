"""Update steps a second of the learners for games beside those of d3rlpy and Tianshou.

Batches of 32 stacks of four frames of 84 x 84, 6 actions, and the network of Nature DQN without
padding. `workers` says how all are timed. "With sampling", a step draws its batch from 10,000
single frames in memory. Otherwise batches are sampled beforehand.

Each stands beside peers that compute the same. `discrete_bcq` is Tianshou's: values and imitator
are heads of one torso. `discrete_bcq_quantiles` is that of d3rlpy-benchmarks: the imitator has a
network of its own, and 200 quantiles stand for a value. `discrete_cql` has 200 quantiles with both.
d3rlpy has no CRR of numbered actions.

The other anchors are what this machine does best: a matrix product, and the network's convolutions
with their gradients, the best of PyTorch's and ours.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.speed.rates import IMAGE_BATCH_SIZE
from benchmarks.speed.workers import (
    D3RLPY,
    OURS,
    PEAKS,
    TIANSHOU,
    Best,
    beside_peers,
    best_rates,
    label,
    matrix_products,
    row,
    sampled,
)

CONVOLUTIONS = "convolutions"
COMPARED = ("discrete_bc", "discrete_bcq", "discrete_bcq_quantiles", "discrete_cql", "crr")
PEERS = {
    D3RLPY: ("discrete_bc", "discrete_bcq_quantiles", "discrete_cql"),
    TIANSHOU: ("discrete_bc", "discrete_bcq", "discrete_cql", "crr"),
}
SCRIPTS = {
    OURS: "image_learner_steps",
    D3RLPY: "d3rlpy_image_steps",
    TIANSHOU: "tianshou_image_steps",
}


def measure(quick: bool = False) -> list[dict]:
    """Rows of name, value, unit, anchor and ratio; the peers are installed on the first call."""
    timed = {who: (*sampled(of), *of) for who, of in {OURS: COMPARED, **PEERS}.items()}
    timed[OURS] += (CONVOLUTIONS, *PEAKS)
    timed[TIANSHOU] += (CONVOLUTIONS,)
    return list(rows(best_rates(SCRIPTS, timed, *((1, 0.5) if quick else (4, 0.7)))))


def rows(best: Best) -> Iterator[dict]:
    """The table's rows."""
    products = matrix_products(best)
    convolved = {
        (who, n): rate * flop(CONVOLUTIONS) / 1e9
        for (who, name, n), rate in best.items()
        if name == CONVOLUTIONS
    }
    for n, peak in products.items():
        yield row(f"matrix product 256x256x256, {n} threads", peak, "GFLOP/s")
    for (who, n), rate in convolved.items():
        yield row(f"convolutions and their gradients, {who}, {n} threads", rate, "GFLOP/s")
    for name in (*sampled(COMPARED), *COMPARED):
        yield from beside_peers(best, name, PEERS)
    for name in COMPARED:
        for n, product in products.items():
            achieved = best[OURS, name, n] * flop(name) / 1e9
            peaks = {
                "matrix product": product,
                "convolutions": max(rate for (_, of), rate in convolved.items() if of == n),
            }
            for of, peak in peaks.items():
                note = f"{of} {peak:.0f}"
                yield row(f"{label(name)}, {n} threads", achieved, "GFLOP/s", note, achieved / peak)


def flop(name: str) -> float:
    """Floating-point operations of the products and convolutions of one step, and of no more."""
    frames = 20 * 20 * 32 * (8 * 8 * 4)  # The frames get no gradient.
    convolutions = frames + 9 * 9 * 64 * (4 * 4 * 32) + 7 * 7 * 64 * (3 * 3 * 64)

    def head(outputs: int) -> int:
        return 7 * 7 * 64 * 512 + 512 * outputs

    def forward(*outputs: int) -> int:
        return convolutions + sum(map(head, outputs))

    def trained(*outputs: int) -> int:
        return 3 * forward(*outputs) - frames

    actions = 6
    quantiles = 200 * actions
    products = {
        CONVOLUTIONS: 3 * convolutions - frames,
        "discrete_bc": trained(actions),
        # The target's imitator is not asked.
        "discrete_bcq": trained(actions, actions) + forward(actions, actions) + forward(actions),
        "discrete_bcq_quantiles": trained(quantiles)
        + trained(actions)
        + 2 * forward(quantiles)
        + forward(actions),
        "discrete_cql": trained(quantiles) + 2 * forward(quantiles),
        "crr": trained(actions, actions) + forward(actions, actions),
    }
    return 2 * IMAGE_BATCH_SIZE * products[name]
