"""One update of d3rlpy's ReBRAC, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

The critics have the authors' layer normalisation, after each ReLU and with Flax's epsilon: d3rlpy
leaves both to its user.
"""

import d3rlpy
import torch
from d3rlpy.models.encoders import VectorEncoderFactory
from d3rlpy_peer import ENCODER, create, random_batch
from peer import HIDDEN_SIZES, gradients, weights, write

d3rlpy.seed(0)
config = d3rlpy.algos.ReBRACConfig(
    actor_encoder_factory=ENCODER,
    critic_encoder_factory=VectorEncoderFactory(HIDDEN_SIZES, use_layer_norm=True),
    actor_beta=0.3,
    critic_beta=0.7,
)
impl, modules = create(config)
for module in (*modules.q_funcs.modules(), *modules.targ_q_funcs.modules()):
    if isinstance(module, torch.nn.LayerNorm):
        module.eps = 1e-6
batch, arrays = random_batch()
networks = {
    "policy": modules.policy,
    "critics": modules.q_funcs,
    "target_policy": modules.targ_policy,
    "target_critics": modules.targ_q_funcs,
}
for name, module in networks.items():
    arrays |= weights(f"start/{name}", module)

draw = torch.randn


def recorded(*arguments, **keywords):
    noise = draw(*arguments, **keywords)
    arrays["noise"] = noise.numpy()
    return noise


torch.randn = recorded
arrays["loss/critic"] = impl.update_critic(batch)["critic_loss"]
arrays |= gradients("gradient/critics", modules.q_funcs, modules.critic_optim.optim)
arrays["loss/policy"] = impl.update_actor(batch)["actor_loss"]
arrays |= gradients("gradient/policy", modules.policy, modules.actor_optim.optim)
impl.update_critic_target()
impl.update_actor_target()
for name, module in networks.items():
    arrays |= weights(f"after/{name}", module)
write(arrays)
