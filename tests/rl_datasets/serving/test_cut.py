"""Cuts that give the same transitions are equal, and no cut is out of range."""

import pytest

from rl_datasets.serving.cut import ONE_STEP, Cut


def test_one_step_has_no_gamma():
    assert Cut(1, 0.5) == ONE_STEP
    assert Cut(1, 0.5).gamma == 1
    assert Cut(2, 0.5) != Cut(2, 0.9)


def test_names_of_arrays_are_equal_in_whatever_they_are_listed():
    assert Cut(observed=["height", "goal"]) == Cut(observed=("height", "goal"))
    assert Cut(observed=("goal", "height")) != Cut(observed=("height", "goal"))


@pytest.mark.parametrize(
    "wrong",
    [{"gamma": 2.0}, {"gamma": float("nan")}, {"gamma": -0.1}, {"n_step": 0}, {"frame_stack": 0}],
)
def test_a_number_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be (at least 1|from 0 to 1), got"):
        Cut(**wrong)
