"""One update of Tianshou's BCQ, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

Two differences from algorithm 1, which our learner has options for: the proposals at the next state
are not perturbed; and of an MLP, which Tianshou's example perturbs by, the first row of the output
perturbs the whole batch. Here that is so with `alike` as a second argument. The noise is written
too, as our learner draws it: of the reconstruction, of the policy's proposal, and of those at the
next state.
"""

import sys

import torch
from peer import (
    ACTION_SIZE,
    HIDDEN_SIZES,
    OBSERVATION_SIZE,
    after,
    bcq_noise,
    move,
    start,
    write,
)
from tianshou.algorithm import BCQ
from tianshou.algorithm.imitation.bcq import BCQPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.utils.net.common import MLP, Net
from tianshou.utils.net.continuous import VAE, Perturbation
from tianshou_peer import ACTIONS, critic, random_buffer, update

SAMPLES, LATENT_SIZE = 3, 2 * ACTION_SIZE

torch.manual_seed(0)
pair_size = OBSERVATION_SIZE + ACTION_SIZE
autoencoder = VAE(
    encoder=MLP(input_dim=pair_size, hidden_sizes=HIDDEN_SIZES),
    decoder=MLP(
        input_dim=OBSERVATION_SIZE + LATENT_SIZE,
        output_dim=ACTION_SIZE,
        hidden_sizes=HIDDEN_SIZES,
    ),
    hidden_dim=HIDDEN_SIZES[-1],
    latent_dim=LATENT_SIZE,
    max_action=1.0,
)
if "alike" in sys.argv[2:]:
    changes = MLP(input_dim=pair_size, output_dim=ACTION_SIZE, hidden_sizes=HIDDEN_SIZES)
else:
    changes = Net(state_shape=pair_size, action_shape=ACTION_SIZE, hidden_sizes=HIDDEN_SIZES)
perturbation = Perturbation(preprocess_net=changes, max_action=1.0)
adam = AdamOptimizerFactory(lr=1e-3)
algorithm = BCQ(
    policy=BCQPolicy(
        actor_perturbation=perturbation, action_space=ACTIONS, critic=critic(), vae=autoencoder
    ),
    actor_perturbation_optim=adam,
    critic_optim=adam,
    critic2=critic(),
    vae_optim=adam,
    num_sampled_action=SAMPLES,
)
buffer, arrays = random_buffer()
encoder = {
    "layers": autoencoder.encoder,
    "_mu": autoencoder.mean,
    "_logstd": autoencoder.log_std,
}
networks = {
    "encoder": (torch.nn.ModuleDict(encoder), algorithm.vae_optim._optim),
    "decoder": (autoencoder.decoder, algorithm.vae_optim._optim),
    "critics/0": (algorithm.policy.critic, algorithm.critic_optim._optim),
    "critics/1": (algorithm.critic2, algorithm.critic2_optim._optim),
    "perturbation": (perturbation, algorithm.actor_perturbation_optim._optim),
}
targets = {
    "critics/0": algorithm.critic_target.module,
    "critics/1": algorithm.critic2_target.module,
    "perturbation": algorithm.actor_perturbation_target.module,
}
move(*targets.values())
arrays |= start(networks, targets)

arrays["noise"], draws, draw = bcq_noise(SAMPLES)
torch.randn, torch.randn_like = draw, lambda like: draw(like.shape)
losses = update(algorithm, buffer)
assert not draws
arrays["loss/autoencoder"] = losses.vae_loss
arrays["loss/critic"] = losses.critic1_loss + losses.critic2_loss
arrays["loss/perturbation"] = losses.actor_loss
arrays |= after(networks, targets)
write(arrays)
