"""Reads croissant.json with mlcroissant, which validates it.

python read_croissant.py OUT FILE
"""

import logging
import sys

import mlcroissant
import numpy as np

out, file = sys.argv[1:]
logging.disable(logging.WARNING)
dataset = mlcroissant.Dataset(jsonld=file)
issues = dataset.metadata.ctx.issues
assert not issues.errors, issues.errors
records = list(dataset.records(record_set="splits"))
np.savez(
    out,
    name=dataset.metadata.name,
    version=dataset.metadata.version,
    description=dataset.metadata.description,
    warnings=sorted(issues.warnings),
    sha256=[
        f"{each.id} {each.sha256} {each.content_size}" for each in dataset.metadata.distribution
    ],
    splits=[each["splits/name"] for each in records],
    episodes=[each.get("splits/episodes", -1) for each in records],
    transitions=[each["splits/transitions"] for each in records],
)
