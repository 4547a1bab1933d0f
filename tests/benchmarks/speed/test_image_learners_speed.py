"""The speed room of the learners for games: who stands beside whom, and how much there is to do."""

import pytest

from benchmarks.speed.image_learners import COMPARED, CONVOLUTIONS, PEERS, flop, rows
from benchmarks.speed.workers import D3RLPY, OURS, PEAKS, TIANSHOU, sampled


@pytest.fixture
def table():
    """The rows by name, of rates that tell who and what was measured."""
    names = {OURS: (*COMPARED, CONVOLUTIONS, *PEAKS), **PEERS}
    best = {
        (who, name, n): 10.0 * n
        for who, of in names.items()
        for name in (*of, *sampled(of))
        for n in (1, 2)
    }
    best[TIANSHOU, CONVOLUTIONS, 1] = 60.0
    best[TIANSHOU, CONVOLUTIONS, 2] = 30.0
    best[D3RLPY, "sampled_discrete_cql", 1] = 50.0
    best[OURS, "sampled_discrete_cql", 2] = 75.0
    return list(rows(best))


def of(table, name):
    return next(row for row in table if row["name"] == name)


def test_the_faster_peer_is_the_anchor_with_its_better_number_of_threads(table):
    row = of(table, "discrete_cql with sampling, 2 threads")
    assert (row["value"], row["ratio"]) == (75.0, 1.5)
    assert row["anchor"] == f"{D3RLPY}, 1 threads: 50"
    assert of(table, "discrete_cql update alone, 1 threads")["ratio"] == 0.5


def test_each_bcq_stands_beside_the_peer_that_has_it(table):
    anchors = {
        name: of(table, f"{name} update alone, 2 threads")["anchor"].partition(",")[0]
        for name in ("discrete_bcq", "discrete_bcq_quantiles", "crr")
    }
    assert anchors == {"discrete_bcq": TIANSHOU, "discrete_bcq_quantiles": D3RLPY, "crr": TIANSHOU}


def test_a_share_is_of_the_best_convolutions_that_as_many_threads_do(table):
    shares = [
        (row["value"], row["ratio"])
        for row in table
        if row["name"] == "discrete_bc update alone, 1 threads"
        and row["anchor"].startswith("convolutions")
    ]
    achieved = 10.0 * flop("discrete_bc") / 1e9
    best = 60.0 * flop(CONVOLUTIONS) / 1e9
    assert shares == [(pytest.approx(achieved), pytest.approx(achieved / best))]


def test_operations_are_those_that_the_layers_have():
    # Multiply-adds of one frame stack, layer by layer, worked by hand.
    first, second, third = 3_276_800, 2_654_208, 1_806_336
    dense, head, quantiles = 1_605_632, 3_072, 614_400
    assert flop(CONVOLUTIONS) == 64 * (2 * first + 3 * second + 3 * third)
    assert flop("discrete_bc") == flop(CONVOLUTIONS) + 64 * 3 * (dense + head)
    evaluated = first + second + third + dense + quantiles
    assert flop("discrete_cql") == 64 * (5 * evaluated - first)
