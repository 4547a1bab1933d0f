"""The learners' speed room: of several peers the fastest is the anchor, and all are shown."""

import pytest

from benchmarks.speed.learners import COMPARED, PEERS, flop, rows
from benchmarks.speed.workers import D3RLPY, OURS, PEAKS, TIANSHOU, sampled

THREADS = (1, 2)


@pytest.fixture
def best():
    """Everyone at 100 steps a second, but for what a test changes."""
    names = {OURS: (*COMPARED, "brac_bc"), **PEERS}
    return {
        (who, name, n): 100.0
        for who, of in names.items()
        for name in (*of, *sampled(of), *(PEAKS if who == OURS else ()))
        for n in THREADS
    }


def by_name(best):
    table = list(rows(best))
    return {row["name"]: row for row in reversed(table)}  # the first of a name counts


@pytest.mark.parametrize("peer", [D3RLPY, TIANSHOU])
@pytest.mark.parametrize("threads", THREADS)
def test_the_fastest_peer_is_the_anchor(best, peer, threads):
    best[peer, "cql", threads] = 160.0
    best[OURS, "cql", 1] = 400.0
    table = by_name(best)
    row = table["cql update alone, 1 threads"]
    assert row["value"] == 400.0
    assert row["anchor"] == f"{peer}, {threads} threads: 160"
    assert row["ratio"] == 2.5
    assert table["cql update alone, 2 threads"]["ratio"] == 0.625
    assert table["cql with sampling, 1 threads"]["ratio"] == 1.0


def test_every_peer_has_a_row_of_its_own(best):
    best[D3RLPY, "sampled_sac", 1] = 7.0
    best[TIANSHOU, "sampled_sac", 2] = 8.0
    table = by_name(best)
    assert table[f"sac with sampling, {D3RLPY}, 1 threads"]["value"] == 7.0
    assert table[f"sac with sampling, {TIANSHOU}, 2 threads"]["value"] == 8.0


def test_bcq_stands_beside_the_peer_that_has_as_much_to_do(best):
    table = by_name(best)
    assert table["bcq update alone, 1 threads"]["anchor"].startswith(D3RLPY)
    assert table["bcq_unperturbed update alone, 1 threads"]["anchor"].startswith(TIANSHOU)
    assert flop("bcq") - flop("bcq_unperturbed") == pytest.approx(0.24 * flop("bcq"), rel=0.05)


def test_what_a_peer_lacks_is_left_to_the_other(best):
    table = by_name(best)
    assert table["iql update alone, 1 threads"]["anchor"].startswith(D3RLPY)
    assert not any(TIANSHOU in name for name in table if name.startswith(("iql", "rebrac")))
