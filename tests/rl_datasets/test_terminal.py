"""Nothing but chatter is kept from standard error, whoever writes to it, and however that ends."""

import contextlib
import os
import re
import subprocess
import sys
import threading

import pytest

from rl_datasets import terminal

CHATTER = re.compile(rb"\[engine\.cc:[0-9]+\] (started|stopped)")


def written(capfd) -> list[str]:
    return capfd.readouterr().err.splitlines()


def write_all() -> None:
    """As C++ code does, and from another thread, which means something by it."""
    os.write(2, b"[engine.cc:12] started at port 1\n[engine.cc:13] a warning\n")
    thread = threading.Thread(target=os.write, args=(2, b"a result\n"))
    thread.start()
    thread.join()
    os.write(2, b"[engine.cc:14] stopped, the last line has no end")


def test_chatter_is_dropped_and_all_else_follows(capfd):
    with terminal.holding_back(CHATTER):
        write_all()
    os.write(2, b"afterwards\n")
    assert written(capfd) == ["[engine.cc:13] a warning", "a result", "afterwards"]


def test_all_of_it_follows_where_the_block_fails(capfd):
    def fail() -> None:
        with terminal.holding_back(CHATTER):
            write_all()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(written(capfd)) == 4


def test_all_of_it_follows_where_the_block_takes_long(capfd):
    with terminal.holding_back(CHATTER, at_most=0.01):
        write_all()
        for timer in threading.enumerate():
            if isinstance(timer, threading.Timer):
                timer.join()
        assert len(written(capfd)) == 4
        write_all()
    assert len(written(capfd)) == 4


def test_blocks_in_two_threads_do_not_lose_standard_error(capfd):
    def work():
        for _ in range(50):
            with terminal.holding_back(CHATTER):
                os.write(2, b"[engine.cc:12] started\nkept\n")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written(capfd) == ["kept"] * 150


def test_a_process_that_ends_meanwhile_says_why():
    """As where a daemon thread still waits for a server that died."""
    code = (
        "import re, sys, threading, time\n"
        "from rl_datasets import terminal\n"
        "def hold():\n"
        "    with terminal.holding_back(re.compile(b'x'), at_most=0.2):\n"
        "        held.set(); time.sleep(60)\n"
        "held = threading.Event()\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        "held.wait()\n"
        "sys.exit('the reason')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (1, "the reason\n")


def test_standard_error_that_is_closed(capfd, monkeypatch):
    monkeypatch.setattr(terminal, "_STANDARD_ERROR", 10_000)
    with terminal.holding_back(CHATTER):
        pass
    with terminal.holding_back(CHATTER):  # and the lock was given back
        pass


def test_a_bar_shows_how_much_is_done_and_what_is_said(capsys):
    with terminal.bar("collecting", 10, done=2) as tell:
        tell(7, "7 of the rows")
    shown = capsys.readouterr().err
    assert "collecting" in shown
    assert "7/10" in shown
    assert "7 of the rows" in shown


def test_progress_adds_up(monkeypatch):
    told = []

    @contextlib.contextmanager
    def bar(title, total):
        assert (title, total) == ("loading", 10)
        yield lambda done, said: told.append((done, said))

    monkeypatch.setattr(terminal, "bar", bar)
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    with terminal.progress("loading", 10, "rows") as advance:
        advance(3)
        advance(4)
    assert told == [(0, "rows"), (3, "rows"), (7, "rows")]
