"""Takes batches of versions with PyTorch's DataLoader, by this project's datasets.

python torch_batches.py OUT ROOT SEED (VERSION STACK)...
"""

import itertools
import pickle
import sys

out, root, seed, *versions = sys.argv[1:]
sys.path.insert(0, root)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, default_collate  # noqa: E402

from rl_datasets.serving.cut import Cut  # noqa: E402
from rl_datasets.torch import EpisodeDataset, TransitionDataset, loader  # noqa: E402


def in_order(dataset):
    return RandomSampler(dataset, generator=torch.Generator().manual_seed(int(seed)))


def loaders(dataset):
    """Loaders that must give the same batches."""
    for workers in (0, 2):
        batches = BatchSampler(in_order(dataset), 8, drop_last=False)
        yield DataLoader(dataset, batch_size=None, sampler=batches, num_workers=workers)
    yield DataLoader(dataset, batch_size=8, sampler=in_order(dataset), num_workers=2)
    yield loader(dataset, 8, int(seed))
    yield loader(dataset, 8, int(seed), num_workers=2)


def flat(batch):
    fields = batch._asdict()
    return fields | fields.pop("extras")


arrays = {}
for place, (version, stack) in enumerate(zip(versions[::2], versions[1::2], strict=True)):
    dataset = TransitionDataset(version, cut=Cut(frame_stack=int(stack)))
    assert len(pickle.dumps(dataset)) < 2_000
    fields = {}
    assert [len(each) for each in loaders(dataset)] == [5, 5, 5, 4, 4]
    for batch, *others in itertools.zip_longest(*loaders(dataset)):
        for name, field in flat(batch).items():
            for other in filter(None, others):  # A loader leaves out the last three.
                assert field.dtype == flat(other)[name].dtype, name
                assert torch.equal(field, flat(other)[name]), name
            fields.setdefault(name, []).append(field.numpy())
    arrays |= {f"{place}/{name}": np.concatenate(parts) for name, parts in fields.items()}
    arrays[f"{place}/order"] = np.array(list(in_order(dataset)))
    arrays[f"{place}/one"] = default_collate([dataset[3], dataset[-1]]).reward.numpy()
    episodes = DataLoader(EpisodeDataset(version), batch_size=None, num_workers=2)
    for number, episode in enumerate(episodes):
        arrays |= {f"{place}/{number}/{name}": np.asarray(x) for name, x in episode.items()}
loaded = {name.split(".")[0] for name in sys.modules} & {"tensorflow", "tensorflow_datasets", "jax"}
assert not loaded, loaded
np.savez(out, **arrays)
