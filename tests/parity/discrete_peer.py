"""What the scripts for discrete control share: weights from seeds, and some of what they become.

Layers are named as in `tests/learners/test_discrete_parity.py`.
"""

import numpy as np
import seeded
import torch


def fill(layers, stage):
    """Gives layers, by their names, the weights that belong to these names."""
    with torch.no_grad():
        for name, layer in layers.items():
            for kind, parameter in layer.named_parameters():
                drawn = seeded.weights(f"{stage}/{name}/{kind}", tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(drawn))


def some(stage, layers, of=lambda parameter: parameter):
    """Of every parameter, or of what `of` gives for it, some entries."""
    return {
        f"{stage}/{name}/{kind}": seeded.some(of(parameter).detach().numpy()).copy()
        for name, layer in layers.items()
        for kind, parameter in layer.named_parameters()
    }


def three_updates(layers, targets, optimizer, update, act, brightest):
    """What three updates give: losses, first gradients, weights after all, and what is played.

    Args:
      layers: those that learn, by their names.
      targets: those of the target networks, by the same names.
      optimizer: PyTorch's Adam.
      update: step from 0 and batch -> losses by name.
      act: frames -> actions.
      brightest: of the frames.
    """
    fill(layers, "start")
    fill(targets, "target")
    arrays = {}
    for step in range(seeded.STEPS):
        losses = update(step, seeded.batch(step, brightest))
        arrays |= {f"loss/{step}/{name}": np.float32(loss) for name, loss in losses.items()}
        if step == 0:
            first = {p: optimizer.state[p]["exp_avg"] / 0.1 for p in optimizer.state}
            arrays |= some("gradient", layers, first.__getitem__)
    frames = seeded.batch(seeded.STEPS, brightest)["observation"]
    arrays["played"] = np.asarray(act(frames))
    return arrays | some("after", layers) | some("after_target", targets)
