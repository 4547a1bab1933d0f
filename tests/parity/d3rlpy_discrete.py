"""Three updates of a d3rlpy learner for Atari, for `tests/learners/test_discrete_parity.py`.

The second argument says which: bc, bcq or cql; bcq is as in d3rlpy's benchmarks, where the imitator
has an encoder of its own and values are means of quantiles. d3rlpy copies its targets
after the first update and then every so many; here it counts from one, and copies after the second.
"""

import sys

import d3rlpy
import seeded
import torch
from discrete_peer import three_updates
from peer import write

ADAM = d3rlpy.optimizers.AdamFactory(eps=1e-4)
ALL = {"learning_rate": 1e-3, "optim_factory": ADAM}
WITH_TARGETS = ALL | {"target_update_interval": seeded.TARGET_PERIOD}
QUANTILES = {"q_func_factory": d3rlpy.models.QRQFunctionFactory(n_quantiles=5)}
BCQ = WITH_TARGETS | {"action_flexibility": 0.6, "beta": 0.3}
CONFIGS = {
    "bc": d3rlpy.algos.DiscreteBCConfig(beta=0.3, **ALL),
    "bcq": d3rlpy.algos.DiscreteBCQConfig(share_encoder=False, **QUANTILES, **BCQ),
    "cql": d3rlpy.algos.DiscreteCQLConfig(alpha=2.0, **QUANTILES, **WITH_TARGETS),
}


def encoder(name, net):
    return {
        **{f"{name}conv_{i}": net._cnn_layers[2 * i] for i in range(3)},
        f"{name}hidden": net._last_layers[0],
    }


name = sys.argv[2]
algorithm = CONFIGS[name].create(device="cpu:0")
algorithm.create_impl(seeded.FRAMES, seeded.NUM_ACTIONS)
impl, modules = algorithm.impl, algorithm.impl._modules
layers, targets = {}, {}
if name != "bc":
    q, target = modules.q_funcs[0], modules.targ_q_funcs[0]
    of_q = "q/" if name == "bcq" else ""
    head = "head" if name == "cql" else "q/head"
    layers |= encoder(of_q, q._encoder) | {head: q._fc}
    targets = encoder(of_q, target._encoder) | {head: target._fc}
if name == "bcq":
    layers |= encoder("imitator/", modules.imitator._encoder)
elif name == "bc":
    layers |= encoder("", modules.imitator._encoder)
if name != "cql":
    layers["head" if name == "bc" else "imitator/head"] = modules.imitator._fc


def scaled(frames):
    return d3rlpy.preprocessing.PixelObservationScaler().transform(torch.from_numpy(frames))


def update(step, arrays):
    column = {k: torch.from_numpy(arrays[k])[:, None] for k in ("action", "reward", "discount")}
    batch = d3rlpy.torch_utility.TorchMiniBatch(
        observations=scaled(arrays["observation"]),
        actions=column["action"],
        rewards=column["reward"],
        next_observations=scaled(arrays["next_observation"]),
        next_actions=column["action"],
        returns_to_go=torch.zeros(seeded.BATCH_SIZE, 1),
        terminals=1 - column["discount"],
        intervals=torch.ones(seeded.BATCH_SIZE, 1),
        device="cpu:0",
    )
    return impl.inner_update(batch, step + 1)


def act(frames):
    with torch.no_grad():
        return impl.inner_predict_best_action(scaled(frames))


write(three_updates(layers, targets, modules.optim.optim, update, act, brightest=255))
