"""How a collection is split into units."""

import pytest

from rl_datasets import errors
from rl_datasets.collection import (
    mixtures,
    unit_plan,
)


def test_plan_splits_shares_into_units():
    units = unit_plan.plan(mixtures.load_mixture("eps1"), 300_000, 1000)
    assert [(unit.policy_id, unit.transitions) for unit in units] == [
        (0, 50_000),
        (0, 10_000),
        (1, 50_000),
        (1, 50_000),
        (1, 20_000),
        (2, 50_000),
        (2, 50_000),
        (2, 20_000),
    ]
    assert [unit.file for unit in units[:2]] == ["unit-00000.npz", "unit-00001.npz"]


@pytest.mark.parametrize("transitions", [-1, 0, 4])
def test_too_few_transitions(transitions):
    with pytest.raises(errors.DatasetError, match=f"{transitions} transitions leave a policy"):
        unit_plan.plan(mixtures.load_mixture("eps1"), transitions, 1000)


def test_d4rls_plan_leaves_room_for_whole_episodes():
    units = unit_plan.plan(mixtures.load_mixture("random-v2"), 1_000_000, 1000)
    assert [(unit.transitions, unit.is_whole) for unit in units] == [
        *[(49_000, True)] * 19,
        (1_000_000 - 19 * 49_000, False),
    ]
    (unit,) = unit_plan.plan(mixtures.load_mixture("random-v2"), 99_999, 1000)
    assert (unit.transitions, unit.is_whole) == (99_999, False)


@pytest.mark.parametrize("time_limit", [50, 1_600, 30_000, 200_000])
def test_d4rls_plan_leaves_room_by_the_environments_own_time_limit(time_limit):
    *whole, last = unit_plan.plan(mixtures.load_mixture("random-v2"), 2_000_000, time_limit)
    assert whole
    assert all(unit.is_whole and unit.transitions >= time_limit for unit in whole)
    assert len(whole) * (time_limit - 1) < last.transitions


def test_by_d4rls_rules_an_environment_has_a_time_limit():
    with pytest.raises(errors.DatasetError, match="has none: use the protocol brac"):
        unit_plan.plan(mixtures.load_mixture("random-v2"), 1_000, None)
    assert unit_plan.plan(mixtures.load_mixture("pure"), 1_000, None)
