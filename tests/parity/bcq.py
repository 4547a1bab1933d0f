"""One update of d3rlpy's BCQ, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

One difference from the authors is put right: d3rlpy's decoder squashes its action only where it is
told not to, so that BCQ's never is. The noise is written too, as our learner draws it: of the
reconstruction, of the policy's proposal, and of those at the next state.
"""

import d3rlpy
import numpy as np
import torch
from d3rlpy.models.torch.imitators import VAEDecoder
from d3rlpy_peer import ENCODER, create, random_batch
from peer import ACTION_SIZE, BATCH_SIZE, gradients, weights, write

SAMPLES = 3

forward = VAEDecoder.forward
VAEDecoder.forward = lambda self, x, latent, with_squash: forward(self, x, latent, False)

d3rlpy.seed(0)
config = d3rlpy.algos.BCQConfig(
    actor_encoder_factory=ENCODER,
    critic_encoder_factory=ENCODER,
    imitator_encoder_factory=ENCODER,
    n_action_samples=SAMPLES,
)
impl, modules = create(config)
batch, arrays = random_batch()
networks = {
    "encoder": (modules.vae_encoder, modules.vae_optim),
    "decoder": (modules.vae_decoder, modules.vae_optim),
    "critics": (modules.q_funcs, modules.critic_optim),
    "perturbation": (modules.policy, modules.actor_optim),
}
targets = {"critics": modules.targ_q_funcs, "perturbation": modules.targ_policy}
for name, (module, _) in networks.items():
    arrays |= weights(f"start/{name}", module)
for name, module in targets.items():
    arrays |= weights(f"start/target_{name}", module)

noise = np.random.default_rng(2).normal(size=(2 + SAMPLES, BATCH_SIZE, 2 * ACTION_SIZE))
noise = noise.astype(np.float32)
arrays["noise"] = noise
draws = [noise[0], np.swapaxes(noise[2:], 0, 1).reshape(BATCH_SIZE * SAMPLES, -1), noise[1]]


def drawn(*shape, **_):
    draw = torch.from_numpy(draws.pop(0).copy())
    assert draw.shape == shape
    return draw


torch.randn = drawn
torch.distributions.normal._standard_normal = lambda shape, dtype, device: drawn(*shape)
losses = impl.inner_update(batch, grad_step=0)
assert not draws
arrays |= {f"loss/{name}": value for name, value in losses.items()}
for name, (module, optimizer) in networks.items():
    arrays |= weights(f"after/{name}", module)
    arrays |= gradients(f"gradient/{name}", module, optimizer.optim)
for name, module in targets.items():
    arrays |= weights(f"after/target_{name}", module)
write(arrays)
