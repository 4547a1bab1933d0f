"""Three updates of a Tianshou learner for Atari, for `tests/learners/test_discrete_parity.py`.

The second argument says which: il, bcq, cql, crr or crr_repaired. Networks are as the examples make
them (`examples/offline/atari_*.py`), and frames are not scaled, so that these are dark.

CRR's loss multiplies [B] log-probabilities by [B, 1] weights, which makes [B, B], and does not hold
the weights constant; `crr_repaired` does neither.
"""

import sys

import seeded
import torch
from discrete_peer import three_updates
from gymnasium.spaces import Discrete
from peer import write
from tianshou.algorithm import DiscreteBCQ, DiscreteCQL, DiscreteCRR
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch
from tianshou.env.atari.atari_network import DQNet, QRDQNet
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
from tianshou_peer import buffer_of, update

BRIGHTEST = 2
LOSSES = (
    "loss",
    "q_loss",
    "i_loss",
    "reg_loss",
    "qr_loss",
    "cql_loss",
    "actor_loss",
    "critic_loss",
)
ACTIONS = Discrete(seeded.NUM_ACTIONS)
ADAM = AdamOptimizerFactory(lr=1e-3, eps=1e-4)
# Tianshou copies before an update, and begins with a copy. Counting from one, it does not, and CRR
# copies before the third. BCQ and CQL have computed that update's targets by then, and use a copy
# one update later than it is made: they do not copy here.
COPIED = {"target_update_freq": seeded.TARGET_PERIOD + 1}
NOT_COPIED = {"target_update_freq": 1_000}
SIZES = dict(zip("chw", seeded.FRAMES, strict=True)) | {"action_shape": seeded.NUM_ACTIONS}


def convolutions(net):
    return {f"conv_{i}": net[2 * i] for i in range(3)}


def dense(name, net):
    hidden, head = (layer for layer in net if isinstance(layer, torch.nn.Linear))
    return {f"{name}hidden": hidden, f"{name}head": head}


def with_heads(torso, **heads):
    layers = convolutions(torso.net)
    for name, head in heads.items():
        layers |= dense(f"{name}/", head.last.model)
    return layers


def actor(torso):
    return DiscreteActor(
        preprocess_net=torso,
        action_shape=seeded.NUM_ACTIONS,
        hidden_sizes=[512],
        softmax_output=False,
    )


def il():
    net = DQNet(**SIZES)
    policy = ImitationPolicy(actor=net, action_space=ACTIONS)
    layers = convolutions(net.net[0]) | dense("", net.net)
    return OfflineImitationLearning(policy=policy, optim=ADAM), layers, {}


def bcq():
    torso = DQNet(**SIZES, features_only=True)
    q, imitator = actor(torso), actor(torso)
    policy = DiscreteBCQPolicy(
        model=q, imitator=imitator, action_space=ACTIONS, unlikely_action_threshold=0.6
    )
    algorithm = DiscreteBCQ(policy=policy, optim=ADAM, **NOT_COPIED)
    old = algorithm.model_old.module
    return algorithm, with_heads(torso, q=q, imitator=imitator), with_heads(old.preprocess, q=old)


def cql():
    net = QRDQNet(**SIZES, num_quantiles=5)
    algorithm = DiscreteCQL(
        policy=QRDQNPolicy(model=net, action_space=ACTIONS),
        optim=ADAM,
        num_quantiles=5,
        min_q_weight=2.0,
        **NOT_COPIED,
    )
    old = algorithm.model_old.module
    return algorithm, *(convolutions(n.net[0]) | dense("", n.net) for n in (net, old))


def crr():
    torso = DQNet(**SIZES, features_only=True)
    pi = actor(torso)
    q = DiscreteCritic(preprocess_net=torso, hidden_sizes=[512], last_size=seeded.NUM_ACTIONS)
    algorithm = DiscreteCRR(
        policy=DiscreteActorPolicy(actor=pi, action_space=ACTIONS, deterministic_eval=True),
        critic=q,
        optim=ADAM,
        ratio_upper_bound=1.2,
        min_q_weight=0.5,
        **COPIED,
    )
    # Old actor and old critic have a torso each, and both are copies of the one.
    old_pi, old_q = algorithm.actor_old.module, algorithm.critic_old.module
    layers = with_heads(torso, policy=pi, q=q)
    targets = with_heads(old_q.preprocess, policy=old_pi, q=old_q)
    old_pi.preprocess = old_q.preprocess
    return algorithm, layers, targets


def crr_repaired():
    log_prob, clamp = torch.distributions.Categorical.log_prob, torch.Tensor.clamp
    torch.distributions.Categorical.log_prob = lambda *of: log_prob(*of)[:, None]
    torch.Tensor.clamp = lambda x, *bounds: clamp(x.detach(), *bounds)
    return crr()


algorithm, layers, targets = globals()[sys.argv[2]]()
algorithm._iter = 1


def losses_of_update(step, arrays):
    losses = vars(update(algorithm, buffer_of(arrays)))
    algorithm.policy.is_within_training_step = False
    return {name: loss for name, loss in losses.items() if name in LOSSES}


def act(frames):
    with torch.no_grad():
        return algorithm.policy(Batch(obs=frames, info=Batch())).act


write(three_updates(layers, targets, algorithm.optim._optim, losses_of_update, act, BRIGHTEST))
