"""One update of d3rlpy's BCQ, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

One difference from the authors is put right: d3rlpy's decoder squashes its action only where it is
told not to, so that BCQ's never is. The noise is written too, as our learner draws it: of the
reconstruction, of the policy's proposal, and of those at the next state.
"""

import d3rlpy
import torch
from d3rlpy.models.torch.imitators import VAEDecoder
from d3rlpy_peer import ENCODER, create, random_batch
from peer import after, bcq_noise, start, write

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
    "encoder": (modules.vae_encoder, modules.vae_optim.optim),
    "decoder": (modules.vae_decoder, modules.vae_optim.optim),
    "critics": (modules.q_funcs, modules.critic_optim.optim),
    "perturbation": (modules.policy, modules.actor_optim.optim),
}
targets = {"critics": modules.targ_q_funcs, "perturbation": modules.targ_policy}
arrays |= start(networks, targets)

arrays["noise"], draws, draw = bcq_noise(SAMPLES)
torch.randn = lambda *shape, **_: draw(shape)
torch.distributions.normal._standard_normal = lambda shape, dtype, device: draw(shape)
losses = impl.inner_update(batch, grad_step=0)
assert not draws
arrays |= {f"loss/{name}": value for name, value in losses.items()}
arrays |= after(networks, targets)
write(arrays)
