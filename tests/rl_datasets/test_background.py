"""Work in the background: nothing is lost, put in another order, or kept to itself."""

import threading

import hypothesis
import pytest
from hypothesis import strategies as st

from rl_datasets import background


@hypothesis.given(st.lists(st.binary(max_size=5)), st.integers(1, 12))
def test_bytes_come_as_they_are_however_they_are_grouped(items, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "GROUP_BYTES", size)
        assert list(background.bytes_ahead(iter(items))) == items


def test_an_error_reaches_whoever_asked():
    def items():
        yield b"x" * background.GROUP_BYTES
        raise ValueError("cut")

    found = background.bytes_ahead(items())
    assert len(next(found)) == background.GROUP_BYTES
    with pytest.raises(ValueError, match="cut"):
        next(found)


def test_a_megabyte_is_under_way_while_another_is_used():
    produced = threading.Semaphore(0)

    def items():
        for _ in range(3):
            yield bytes(background.GROUP_BYTES)
            produced.release()

    found = background.bytes_ahead(items())
    next(found)
    assert produced.acquire(timeout=10)  # It went on to the second on its own,
    assert not produced.acquire(timeout=0.2)  # and no further.
