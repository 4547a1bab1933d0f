"""The scores of a version, against the tables and the results that this package ships."""

import json

import numpy as np

from benchmarks.tables import dataset_scores
from benchmarks.tables.results_folder import SHIPPED


def test_what_was_measured_stands_beside_what_was_reported():
    version = "brac/halfcheetah-eps1-recollected-brac:2.0.0"
    scores = {(score.table, score.row): score for score in dataset_scores.scores_on(version)}
    (score,) = (s for (_, row), s in scores.items() if row == "HalfCheetah-v2/eps1")
    lines = (SHIPPED / "brac_bc/HalfCheetah-v2-eps1.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    last = [
        [np.mean(r["returns"]) for r in results if r["seed"] == seed][-10:] for seed in range(5)
    ]
    assert score.measured.startswith(f"{np.mean(last):.0f} ± ")
    assert score.fingerprint == results[0]["fingerprint"]
    assert score.status.startswith(("agrees (", "differs (", "cannot tell ("))
    assert score.reported
    assert all(not other.measured for other in scores.values() if other != score)


def test_tables_that_no_recipe_measures_are_of_datasets_of_d4rl():
    def rows(version):
        return {(s.table, s.row): s.reported for s in dataset_scores.scores_on(version)}

    told = rows("d4rl/hopper-medium-v2:2.0.0")
    assert told["JAX-CORL on D4RL", "DT/hopper-medium-v2"] == "60.9 ± 6.8"
    assert told["CORL on D4RL", "BC/hopper-medium-v2"] == "53.5 ± 1.8"
    assert ("JAX-CORL on D4RL", "DT/hopper-medium-v2") in rows("d4rl/hopper-medium-v2:3.0.0")
    assert rows("brac/hopper-medium-v2:2.0.0") == {}
    assert rows("d4rl/hopper-medium-v2-recollected-mine:2.0.0") == {}
