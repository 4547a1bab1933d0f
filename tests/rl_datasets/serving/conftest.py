"""Transitions whose every field tells which one they are, and a small published version."""

import pathlib

import numpy as np
import pytest

from rl_datasets.publishing import manifest, units
from rl_datasets.serving.transitions import Transition
from tests.rl_datasets.publishing import synthetic


def make_transitions(size: int) -> Transition:
    """Transition i has reward i and policy_id i, and every other field follows from i."""
    number = np.arange(size)
    return Transition(
        observation=np.stack([number, -number], axis=1).astype(np.float32),
        action=number[:, None].astype(np.float32) / 2,
        reward=number.astype(np.float32),
        discount=(number % 7 > 0).astype(np.float32),
        next_observation=np.stack([number + 1, -number - 1], axis=1).astype(np.float32),
        extras={"policy_id": number.astype(np.int32)},
    )


@pytest.fixture(scope="session")
def published(tmp_path_factory) -> pathlib.Path:
    """Folder of a version of 12 episodes with extras of several types: a shard and a manifest."""
    folder = tmp_path_factory.mktemp("published")
    shard = folder / "synthetic-train.tfrecord-00000-of-00001"
    receipt_path = tmp_path_factory.mktemp("receipts") / "receipt.json"
    units.write_unit(synthetic.unit(0, "", count=12), synthetic.SPEC, shard, receipt_path)
    receipt = units.read_receipt(receipt_path)
    plan = {"dataset": "synthetic", "spec": manifest.spec_to_json(synthetic.SPEC)}
    splits = {"train": manifest.statistics(receipt.lengths, receipt.returns)}
    entries = {shard.name: manifest.file_entry(shard)}
    manifest.write(folder, manifest.make(plan, splits, entries))
    return folder
