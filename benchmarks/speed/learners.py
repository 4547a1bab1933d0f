"""Update steps a second of the learners beside those of d3rlpy and Tianshou.

Batch 256, 17 observations, 6 actions, two hidden layers of 256 (BRAC's cloning: 200), ReBRAC's
critics with layer normalisation, CQL with 10 actions of each of its three sources and a Lagrange
threshold, and BCQ with the 100 proposals at the next state that d3rlpy has. `workers` says how all
are timed. "With sampling", a step draws its batch from 100,000 transitions in memory: d3rlpy from
its dataset, Tianshou from its replay buffer, ours from an `ArrayFeed`. Otherwise batches are
sampled beforehand.

Tianshou has neither IQL nor ReBRAC. Its BCQ leaves the proposals at the next state unperturbed,
which is a quarter less to do: `bcq_unperturbed` is ours without, and stands beside it; `bcq` stands
beside d3rlpy's. Tianshou's CQL goes back through the critics once more than it has to, for the
multiplier alone.

The matrix product that this machine does best is the other anchor.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.speed.rates import BATCH_SIZE, SAMPLED
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
from learners import bc, cql, rebrac, td3_bc

COMPARED = ("td3_bc", "bc", "iql", "cql", "rebrac", "bcq", "bcq_unperturbed", "sac")
PEERS = {
    D3RLPY: ("td3_bc", "bc", "iql", "cql", "rebrac", "bcq", "sac"),
    TIANSHOU: ("td3_bc", "bc", "cql", "bcq_unperturbed", "sac"),
}
SCRIPTS = {OURS: "learner_steps", D3RLPY: "d3rlpy_steps", TIANSHOU: "tianshou_steps"}


def measure(quick: bool = False) -> list[dict]:
    """Rows of name, value, unit, anchor and ratio; the peers are installed on the first call."""
    names = {OURS: (*COMPARED, "brac_bc"), **PEERS}
    timed = {who: (*sampled(of), *of) for who, of in names.items()}
    timed[OURS] += PEAKS
    return list(rows(best_rates(SCRIPTS, timed, *((1, 0.5) if quick else (5, 1.0)))))


def rows(best: Best) -> Iterator[dict]:
    """The table's rows."""
    peaks = matrix_products(best)
    for n, peak in peaks.items():
        yield row(f"matrix product 256x256x256, {n} threads", peak, "GFLOP/s")
    for name in (*sampled(COMPARED), *COMPARED):
        yield from beside_peers(best, name, PEERS)
    for n in peaks:
        steps = best[OURS, SAMPLED + "brac_bc", n]
        yield row(f"{label(SAMPLED + 'brac_bc')}, {n} threads", steps, "steps/s")
    for name in (*COMPARED, "brac_bc"):
        for n, peak in peaks.items():
            achieved = best[OURS, name, n] * flop(name) / 1e9
            note = f"matrix product {peak:.0f}"
            yield row(f"{label(name)}, {n} threads", achieved, "GFLOP/s", note, achieved / peak)


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
