"""How runs were made, as their lines say it."""

import dataclasses

import pytest

from benchmarks.tables import protocol
from benchmarks.training.recipe import load_recipe, recipe_names
from tests.benchmarks.made_up import line

BRAC = load_recipe("brac")
BCQ, BEAR = (
    next(row.name for row in BRAC.rows if row.learning.algorithm == name)
    for name in ("BCQ", "BEAR")
)


def test_every_row_is_told_as_it_was_run():
    results = [
        line(row=BCQ, learner="bcq", config={"act_samples": 10}, batch_size=100, steps=10_000),
        line(
            row=BEAR,
            learner="bear",
            config={"max_q_samples": 7},
            batch_size=1_000,
            behavior="BC",
            policies=["act", "max_q"],
        ),
    ]
    told = protocol.measured(BRAC, results).splitlines()
    assert told[:2] == [
        "- Learner: `bcq` (act_samples 10), batch size 100, scored by the best of 10 proposals "
        "(of BCQ)",
        "- Learner: `bear` (max_q_samples 7), batch size 1,000, behavior BC, scored by the mode, "
        "and by the best of 7 samples by the first critic (of BEAR)",
    ]
    assert "- Protocol: 10,000 steps, evaluated every 50 on 2 episodes" in told
    assert "- Protocol: 100 steps, evaluated every 50 on 2 episodes" in told


def test_what_sets_a_row_apart_is_told_once():
    row = BRAC.rows[0].name
    results = [line(row=row, seed=seed, n_step=3, scored_in="Hopper-v5") for seed in range(3)]
    (told,) = [x for x in protocol.measured(BRAC, results).splitlines() if "Learner" in x]
    assert "n step 3, scored in Hopper-v5, scored by" in told


@pytest.mark.parametrize("name", recipe_names())
def test_every_policy_of_a_recipe_has_words(name):
    recipe = load_recipe(name)
    for row in recipe.rows:
        if not row.blocked:
            of = recipe.of(row)
            config = dataclasses.asdict(of.learner_config())
            for policy in row.scoring.policies:
                assert "{" not in protocol.policy(policy, of.learner, config)


def test_brac_and_bear_are_scored_by_both_policies_that_their_authors_score():
    policies = {row.learning.algorithm: row.scoring.policies for row in BRAC.rows}
    one = {"SAC", "BC", "BCQ"}
    assert all((p == ("act",)) == (name in one) for name, p in policies.items())
    assert {policies[name] for name in policies.keys() - one} == {("act", "max_q")}
