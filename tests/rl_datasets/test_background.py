"""Work in the background: nothing is lost, put in another order, or kept to itself."""

import itertools
import subprocess
import sys
import threading
import time

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


class _Lost(Exception):
    pass


def test_items_that_do_not_come_are_watched_until_they_are_given_up(monkeypatch):
    monkeypatch.setattr(background, "WATCH_SECONDS", 0.01)
    comes, calls = threading.Event(), itertools.count(1)

    def items():
        yield "first"
        comes.wait()
        yield "second"
        threading.Event().wait()

    def watch():
        if next(calls) == 3:
            comes.set()
        if comes.is_set() and next(calls) > 20:
            raise _Lost

    found = background.ahead(items(), watch=watch)
    assert [next(found), next(found)] == ["first", "second"]
    with pytest.raises(_Lost):
        next(found)


# The call ends long after the script, or never.
SCRIPT = """
import sys, threading, time
from rl_datasets.background import in_background

def late():
    time.sleep(0.5)
    print("done", flush=True)

never = threading.Event().wait
may_hang = sys.argv[2] == "may hang"
in_background({"late": late, "never": never}[sys.argv[1]], may_hang)
"""


@pytest.mark.parametrize("may_hang", ["may hang", "ends"])
def test_a_process_that_ends_waits_for_the_work(may_hang):
    command = [sys.executable, "-c", SCRIPT, "late", may_hang]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_process_ends_though_a_call_never_does():
    started = time.monotonic()
    command = [sys.executable, "-c", SCRIPT, "never", "may hang"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started > background.LAST_SECONDS
