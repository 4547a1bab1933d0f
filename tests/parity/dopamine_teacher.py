"""A checkpoint that Dopamine's JAX DQN saves, the replay buffer beside it, and its values.

Of noise, weights would take 16 MB; here they repeat, so that the file compresses. The frames of the
replay buffer bear the numbers of their steps.
"""

import pathlib
import sys
import tempfile
import types

import gin
import jax
import numpy as np

# Dopamine imports a wrapper of environments that it neither needs here nor installs.
sys.modules["baselines"] = types.ModuleType("baselines")
sys.modules["baselines.common"] = types.ModuleType("baselines.common")
sys.modules["baselines.common"].atari_wrappers = None

# ruff: noqa: E402
from dopamine.discrete_domains import checkpointer
from dopamine.jax.agents.dqn import dqn_agent
from dopamine.tf.replay_memory import circular_replay_buffer
from flax import core

NUMBER, ACTIONS, CAPACITY = 399, 6, 60
# The rows of padding come on top. At the end the buffer holds the last 60 of 125 rows.
LENGTHS = (9, 20, 14, 1, 12, 17, 22, 6)
TRUNCATED = 5  # the episode that a time limit ends


def weights(params):
    rng = np.random.default_rng(0)

    def of(leaf):
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if leaf.ndim > 1 else 0.1
        repeated = np.resize(rng.normal(size=997), leaf.shape)
        return jax.numpy.asarray((scale * repeated).astype(np.float32))

    return jax.tree.map(of, params)


def frame_of(number):
    frame = np.zeros((84, 84), np.uint8)
    frame[0, :4] = np.array([number], "<i4").view(np.uint8)
    return frame


def save_replay(folder):
    buffer = circular_replay_buffer.OutOfGraphReplayBuffer((84, 84), 4, CAPACITY, 1)
    number = 0
    for episode, length in enumerate(LENGTHS):
        for row in range(length):
            number += 1
            is_end = row == length - 1
            buffer.add(
                frame_of(number),
                number % ACTIONS,
                float(number % 3 - 1),
                is_end and episode != TRUNCATED,
                episode_end=is_end,
            )
    buffer.save(folder, NUMBER)


def main():
    gin.parse_config(["ReplayBuffer.batch_size = 32", "ReplayBuffer.max_capacity = 100"])
    agent = dqn_agent.JaxDQNAgent(ACTIONS, seed=0)
    agent.online_params = core.freeze(weights(agent.online_params))
    agent.target_network_params = agent.online_params
    agent.optimizer_state = agent.optimizer.init(agent.online_params)
    with tempfile.TemporaryDirectory() as folder:
        bundle = agent.bundle_and_checkpoint(folder, NUMBER)
        bundle["current_iteration"] = NUMBER
        bundle["logs"] = {"iteration_0": {"train_episode_returns": [np.float64(-21.0), 3.5]}}
        checkpointer.Checkpointer(folder).save_checkpoint(NUMBER, bundle)
        save_replay(folder)
        files = {
            path.name: np.frombuffer(path.read_bytes(), np.uint8)
            for path in pathlib.Path(folder).iterdir()
            if path.is_file() and ("_ckpt." in path.name or path.name == f"ckpt.{NUMBER}")
        }
    frames = np.random.default_rng(2).integers(0, 256, (3, 84, 84, 4), dtype=np.uint8)
    values = [agent.network_def.apply(agent.online_params, frame).q_values for frame in frames]
    np.savez_compressed(pathlib.Path(sys.argv[1]), values=np.stack(values), **files)


if __name__ == "__main__":
    main()
