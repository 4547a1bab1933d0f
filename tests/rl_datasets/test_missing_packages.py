"""What a package is missing for is told in one sentence, which names the package."""

import importlib
import sys

import pytest

from rl_datasets import array_records
from rl_datasets.errors import DatasetError
from rl_datasets.torch import loader


@pytest.fixture
def without(monkeypatch):
    """As if a package were not installed."""
    return lambda package: monkeypatch.setitem(sys.modules, package, None)


def test_array_record(without, tmp_path):
    without("array_record.python")
    without("array_record")
    (tmp_path / "shard").touch()
    with pytest.raises(DatasetError, match="needs the package array-record, which is not inst"):
        array_records.open_records(tmp_path / "shard")


def test_pyarrow(without, monkeypatch):
    monkeypatch.delitem(sys.modules, "rl_datasets.exporting.parquet", raising=False)
    without("pyarrow")
    with pytest.raises(DatasetError, match=r"Parquet needs pyarrow: .*rl-datasets\[parquet\]"):
        importlib.import_module("rl_datasets.exporting.parquet")


def test_torch(without):
    without("torch")
    with pytest.raises(DatasetError, match="a loader needs PyTorch, which is not installed"):
        loader(None, 256, seed=0)
