"""Reads every row of a folder with Hugging Face's datasets.

python read_parquet.py OUT FOLDER
"""

import sys

import datasets
import numpy as np

out, folder = sys.argv[1:]
datasets.disable_progress_bars()
loaded = datasets.load_dataset(folder)
arrays = {"splits": sorted(loaded)}
for split, rows in loaded.items():
    arrays |= {f"feature/{name}": repr(feature) for name, feature in rows.features.items()}
    for name in rows.column_names:
        values = rows[name][:]
        arrays[f"{split}/{name}"] = np.stack([np.asarray(value) for value in values])
np.savez(out, **arrays)
