"""What a logged run says of itself, and when it may be read."""

import json

import pytest

from rl_datasets import run_log
from rl_datasets.errors import DatasetError

SAID = {"game": "Pong", "run": 1, "time_limit": 27_000, "agent": {"name": "dqn"}}


def test_what_was_written_is_read(tmp_path):
    run_log.write(tmp_path, SAID)
    assert run_log.read(tmp_path) == SAID
    assert json.loads((tmp_path / "log.json").read_text(encoding="utf-8")) == SAID


def test_a_run_of_others_says_nothing(tmp_path):
    assert run_log.read(tmp_path) is None
    assert not run_log.is_finished(tmp_path)


def test_a_run_is_finished_once_its_training_is_gone(tmp_path):
    (tmp_path / "training").mkdir()
    run_log.write(tmp_path, SAID)
    assert not run_log.is_finished(tmp_path)
    with pytest.raises(DatasetError, match=r"is not finished: run the same `rl-datasets log-game`"):
        run_log.read(tmp_path)
    (tmp_path / "training").rmdir()
    assert run_log.is_finished(tmp_path)
    assert run_log.read(tmp_path) == SAID


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"game": "Pong", "run": 1, "time_',
        "[]",
        "3",
        json.dumps({"game": "Pong", "run": 1}),
        json.dumps({**SAID, "run": "1"}),
        json.dumps({**SAID, "time_limit": True}),
        json.dumps({**SAID, "game": None}),
    ],
)
def test_a_cut_or_wrong_file_is_named(tmp_path, text):
    path = tmp_path / "log.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError) as raised:
        run_log.read(tmp_path)
    assert str(raised.value).startswith(f"{path} cannot be read (")
    assert "Error(" not in str(raised.value)


def test_what_is_missing_is_said_in_words(tmp_path):
    (tmp_path / "log.json").write_text('{"game": "Pong", "run": 1}', encoding="utf-8")
    with pytest.raises(
        DatasetError, match=r"cannot be read \('time_limit' is missing\): restore it"
    ):
        run_log.read(tmp_path)


def test_bytes_that_are_not_utf_8_are_named(tmp_path):
    (tmp_path / "log.json").write_bytes(b'{"game": "\xff"}')
    with pytest.raises(DatasetError, match=r"log\.json cannot be read \(it is not UTF-8\): "):
        run_log.read(tmp_path)


def test_a_description_that_cannot_be_written_leaves_the_old_one(tmp_path):
    run_log.write(tmp_path, SAID)
    with pytest.raises(TypeError):
        run_log.write(tmp_path, {**SAID, "agent": object()})
    with pytest.raises(DatasetError, match=r"cannot write .*absent/log\.json"):
        run_log.write(tmp_path / "absent", SAID)
    assert run_log.read(tmp_path) == SAID
