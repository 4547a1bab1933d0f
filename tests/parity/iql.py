"""One update of d3rlpy's IQL, for `tests/learners/test_parity.py`; run by `-m tests.parity`.

Two differences from the authors. d3rlpy's critics learn from the value before its step, theirs
from the value after it: the critics' step is repeated here with the new value. And d3rlpy's log of
the deviation is a sigmoid of its parameter, so that only the gradient can be compared.
"""

import d3rlpy
import torch
from d3rlpy_peer import ENCODER, create, random_batch
from peer import gradients, weights, write

d3rlpy.seed(0)
config = d3rlpy.algos.IQLConfig(
    actor_encoder_factory=ENCODER, critic_encoder_factory=ENCODER, value_encoder_factory=ENCODER
)
impl, modules = create(config)
batch, arrays = random_batch()
start = {
    **weights("start/policy", modules.policy),
    **weights("start/critics", modules.q_funcs),
    **weights("start/targets", modules.targ_q_funcs),
    **weights("start/value", modules.value_func),
}
critics = {name: tensor.clone() for name, tensor in modules.q_funcs.state_dict().items()}

losses = {"loss/value": impl.update_critic(batch)["v_loss"]}
after = {
    **weights("after/value", modules.value_func),
    **gradients("gradient/value", modules.value_func, modules.critic_optim.optim),
}
losses["loss/policy"] = impl.update_actor(batch)["actor_loss"]
after |= {
    **weights("after/policy", modules.policy),
    **gradients("gradient/policy", modules.policy, modules.actor_optim.optim),
}
slope = torch.func.grad(lambda raw: -5.0 + 7.0 * torch.sigmoid(raw))(torch.zeros(()))
after["gradient/policy/_logstd"] /= slope.numpy()  # now of the log itself
start["start/policy/_logstd"] = start["start/policy/_logstd"] * 0 - 5.0 + 7.0 * 0.5

modules.q_funcs.load_state_dict(critics)
modules.critic_optim.optim.state.clear()
losses["loss/critic"] = impl.update_critic(batch)["q_loss"]
impl.update_critic_target()
after |= {
    **weights("after/critics", modules.q_funcs),
    **weights("after/targets", modules.targ_q_funcs),
    **gradients("gradient/critics", modules.q_funcs, modules.critic_optim.optim),
}
write({**arrays, **start, **losses, **after})
