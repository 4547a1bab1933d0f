"""What a user of TFDS and RLDS writes, who has never met this project: `dataset_contract` runs it.

    python dataset_stranger.py NAME DATA_DIR VERSION_DIR OUT SPLIT

It leaves facts in OUT.json and arrays in OUT.npz.
"""

import json
import sys

import numpy as np
import rlds
import tensorflow as tf
import tensorflow_datasets as tfds

name, data_dir, version_dir, out, split = sys.argv[1:]
read_config = tfds.ReadConfig(interleave_cycle_length=1)
dataset = tfds.load(name, data_dir=data_dir, split=split, read_config=read_config)


def by_name(fields):
    """The fields of a step, with each array of an observation of several by a name of its own."""
    observation = fields["observation"]
    if not isinstance(observation, dict):
        return fields
    arrays = {f"observation/{key}": array for key, array in observation.items()}
    return {key: field for key, field in fields.items() if key != "observation"} | arrays


arrays = {}
for i, episode in enumerate(tfds.as_numpy(dataset)):
    steps = [by_name(step) for step in episode.pop(rlds.STEPS)]
    arrays |= {f"{i}/metadata/{key}": value for key, value in episode.items()}
    arrays |= {f"{i}/steps/{key}": np.stack([step[key] for step in steps]) for key in steps[0]}


def transitions(episode):
    return rlds.transformations.batch(episode[rlds.STEPS], size=2, shift=1, drop_remainder=True)


def until_last(episode):
    return rlds.transformations.truncate_after_condition(
        episode[rlds.STEPS], lambda step: step[rlds.IS_LAST]
    )


def until_first(episode):
    return rlds.transformations.truncate_after_condition(
        episode[rlds.STEPS], lambda step: step[rlds.IS_FIRST]
    )


def valid_fields(step):
    fields, are_valid = rlds.transformations.sar_fields_mask(step)
    return tf.nest.map_structure(lambda field: tf.cast(field, tf.float64), fields), are_valid


mean, std = rlds.transformations.mean_and_std(dataset, valid_fields)
arrays |= {f"mean/{key}": value for key, value in by_name(mean).items()}
arrays |= {f"std/{key}": value for key, value in by_name(std).items()}
np.savez(f"{out}.npz", **arrays)

pairs = next(dataset.flat_map(transitions).batch(1 << 20).as_numpy_iterator())
facts = {
    "transitions": len(pairs[rlds.REWARD]),
    "pairs_join": not np.any(pairs[rlds.IS_FIRST][:, 1]),
    "truncated_at_last": sum(1 for _ in dataset.flat_map(until_last)),
    "truncated_at_first": sum(1 for _ in dataset.flat_map(until_first)),
    "in_directory": tfds.builder_from_directory(version_dir).info.splits[split].num_examples,
    "ours": [m for m in sys.modules if m.split(".")[0] in ("rl_datasets", "builders")],
}
with open(f"{out}.json", "w") as file:
    json.dump(facts, file)
