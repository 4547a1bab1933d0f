"""One update of d3rlpy's CQL, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

Three differences. Without the entropy in its targets d3rlpy bootstraps from the policy's mode, the
authors from a sample: here targets have the entropy. d3rlpy's temperature and multiplier move
before the losses that they weigh, the authors' multiplier after: here both do. And d3rlpy
multiplies the threshold by the weight of the penalty.
"""

import d3rlpy
import torch
from d3rlpy_peer import ENCODER, create, random_batch
from peer import gradients, record_draws, weights, write

d3rlpy.seed(0)
config = d3rlpy.algos.CQLConfig(
    actor_encoder_factory=ENCODER,
    critic_encoder_factory=ENCODER,
    n_action_samples=4,
    conservative_weight=5.0,
    alpha_threshold=0.4,
    alpha_learning_rate=3e-4,
    initial_alpha=2.0,
    initial_temperature=0.5,
    soft_q_backup=True,
)
impl, modules = create(config)
batch, arrays = random_batch()
learned = {
    "policy": modules.policy,
    "critics": modules.q_funcs,
    "targets": modules.targ_q_funcs,
    "log_alpha": modules.log_temp,
    "log_multiplier": modules.log_alpha,
}
for name, module in learned.items():
    arrays |= weights(f"start/{name}", module)

drawn = record_draws()
update_alpha, update_temp = impl.update_alpha, impl.update_temp
postponed = []
impl.update_alpha = lambda gaps: postponed.append((update_alpha, gaps))
impl.update_temp = lambda log_pi: postponed.append((update_temp, log_pi)) or torch.zeros(())

arrays["loss/critic"] = impl.update_critic(batch)["critic_loss"]
arrays |= gradients("gradient/critics", modules.q_funcs, modules.critic_optim.optim)
arrays["loss/policy"] = impl.update_actor(batch)["actor_loss"]
arrays |= gradients("gradient/policy", modules.policy, modules.actor_optim.optim)
for update, argument in postponed:
    update(argument)
impl.update_critic_target()
names = ("target", "policy", "next_policy", "uniform", "actor")
for name, noise in zip(names, drawn, strict=True):
    arrays[f"noise/{name}"] = noise.numpy()
for name, module in learned.items():
    arrays |= weights(f"after/{name}", module)
write(arrays)
