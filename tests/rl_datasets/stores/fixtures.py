"""Fixtures of stores, for the tests of whatever works with one."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from tests.rl_datasets.stores import emulators

KINDS = ("file", "gs", "s3")


@pytest.fixture(scope="module", params=KINDS)
def kind_of_store(request) -> Iterator[str]:
    """The scheme of a store that is served while the tests of a module run."""
    with serving(request.param):
        yield request.param


@contextlib.contextmanager
def serving(kind: str) -> Iterator[None]:
    """Serves a store of a kind, or skips the test where it cannot be had."""
    if kind == "file":
        yield
        return
    if kind == "gs":
        program = emulators.gcs_server()
        if program is None:
            pytest.skip("fake-gcs-server: `make emulators` builds it, with Go")
        server = emulators.gcs(program)
    else:
        server = emulators.s3()
    with server as variables, emulators.environment(variables):
        yield


@pytest.fixture
def address(kind_of_store, tmp_path, monkeypatch) -> str:
    """The address of an empty folder of a store, and an empty cache of copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return new_address(kind_of_store, tmp_path)


def new_address(kind: str, tmp_path) -> str:
    if kind == "file":
        return f"file://{tmp_path}/store"
    return f"{kind}://{emulators.BUCKET}/{uuid.uuid4().hex}"
