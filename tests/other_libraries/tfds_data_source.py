"""Reads every episode with TFDS's random access, as where TensorFlow is not installed.

python tfds_data_source.py OUT VERSION_DIR SPLIT
"""

import sys
from importlib.machinery import PathFinder

import numpy as np


class WithoutTensorFlow(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        is_hidden = name.split(".")[0] == "tensorflow"
        return None if is_hidden else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow
import tensorflow_datasets as tfds  # noqa: E402

out, version, split = sys.argv[1:]
source = tfds.builder_from_directory(version).as_data_source(split=split)
arrays = {}
for number in reversed(range(len(source))):
    episode = source[number]
    steps = list(episode.pop("steps"))
    arrays |= {f"{number}/metadata/{name}": value for name, value in episode.items()}
    for name in steps[0]:
        arrays[f"{number}/steps/{name}"] = np.stack([step[name] for step in steps])
loaded = {name.split(".")[0] for name in sys.modules} & {"tensorflow", "rl_datasets", "builders"}
assert not loaded, loaded
np.savez(out, **arrays)
