"""Online soft actor-critic, and BRAC's rule for when a policy counts as partially trained.

BRAC (Wu et al. 2019, arXiv 1911.11361) collects its data with policies of half-finished SAC runs:
every 5,000 steps the mode policy plays 20 episodes, and the first policy whose last two evaluations
both reach the target is kept. The loop is one environment step to one update, after 10,000 steps of
uniformly random actions.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import rich.console
import rich.progress

from benchmarks import evaluation, results
from learners import sac, types
from rl_datasets.collection import environments, policies
from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition

# Mean return that a partially trained policy must reach twice in a row. HalfCheetah's is in BRAC's
# README; the others are the default of its `eval_target` flag.
TARGETS = {
    "HalfCheetah-v4": 4000.0,
    "Hopper-v4": 1000.0,
    "Walker2d-v4": 1000.0,
    "Ant-v4": 1000.0,
}

# BRAC's README says (300, 300), but the critics in the checkpoints that it ships are these.
BRAC_CRITIC_SIZES = (200, 200)


LIBRARIES = ("jax", "dm-haiku", "optax", "numpy", "gymnasium", "mujoco")
COLUMNS = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TextColumn("steps, {task.fields[mean_return]}"),
    rich.progress.TimeElapsedColumn(),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How long to train online, and when to stop; the defaults are BRAC's.

    Attributes:
      environment: gymnasium id.
      target: mean return that `patience` evaluations in a row must reach.
      patience: how many evaluations in a row.
      exploration_steps: environment steps with uniformly random actions, without updates.
      evaluation_interval: environment steps between evaluations.
      evaluation_episodes: episodes an evaluation, played with the mode of the policy.
      max_steps: environment steps after which training gives up.
      batch_size: transitions an update.
      replay_capacity: transitions held; the oldest are overwritten.
    """

    environment: str
    target: float
    patience: int = 2
    exploration_steps: int = 10_000
    evaluation_interval: int = 5_000
    evaluation_episodes: int = 20
    max_steps: int = 1_000_000
    batch_size: int = 256
    replay_capacity: int = 1_000_000


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The mean return of the mode policy after a number of environment steps."""

    step: int
    mean_return: float


class ReplayBuffer:
    """A ring of transitions, sampled uniformly with replacement."""

    def __init__(self, capacity: int, observation_size: int, action_size: int):
        sizes = {
            "observation": (observation_size,),
            "action": (action_size,),
            "reward": (),
            "discount": (),
            "next_observation": (observation_size,),
        }
        self._fields = {
            name: np.empty((capacity, *size), np.float32) for name, size in sizes.items()
        }
        self._capacity = capacity
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, transition: Mapping[str, Any]) -> None:
        """Overwrites the oldest transition with this one, given by `Transition`'s field names."""
        index = self._added % self._capacity
        for name, field in self._fields.items():
            field[index] = transition[name]
        self._added += 1

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        """A batch [1, B, ...], one for each update of a scan of one."""
        indices = rng.integers(len(self), size=batch_size)
        batch = {name: field[indices][None] for name, field in self._fields.items()}
        return Transition(**batch, extras={})


def has_reached(evaluations: Sequence[Evaluation], target: float, patience: int) -> bool:
    """Whether the last `patience` evaluations all reach the target."""
    recent = evaluations[-patience:]
    return len(recent) == patience and all(e.mean_return >= target for e in recent)


def train_until_partial(
    recipe: Recipe,
    config: sac.Config,
    seed: int,
    report: Callable[[Evaluation, float], None] = lambda evaluation, seconds: None,
) -> tuple[sac.TrainingState, list[Evaluation]]:
    """Trains SAC online until its policy is partially trained by BRAC's rule.

    Args:
      recipe: environment, target and schedule.
      config: of the learner.
      seed: of the networks, the environment, the exploration and the sampling.
      report: called after each evaluation with it and the seconds since the start.

    Returns:
      The learner's state at the moment the rule was met, and all evaluations.

    Raises:
      DatasetError: the rule was not met within `recipe.max_steps`.
    """
    rng = np.random.default_rng(seed)
    environment = environments.make_environment(recipe.environment, seed=seed)
    actions = environment.action_spec()
    observation_size = environment.observation_spec().shape[0]
    learner = sac.make(
        config,
        types.Spec(observation_size, actions.shape[0], actions.minimum, actions.maximum),
    )
    assert learner.sample is not None
    key, action_key = jax.random.split(jax.random.PRNGKey(seed))
    state = learner.init(key)
    replay = ReplayBuffer(
        min(recipe.replay_capacity, recipe.max_steps), observation_size, actions.shape[0]
    )
    evaluations: list[Evaluation] = []
    start = time.perf_counter()
    timestep = environment.reset()
    for step in range(1, recipe.max_steps + 1):
        observation = timestep.observation
        if step <= recipe.exploration_steps:
            action = rng.uniform(actions.minimum, actions.maximum).astype(np.float32)
        else:
            key_t = jax.random.fold_in(action_key, step)
            action = np.asarray(learner.sample(state, key_t, observation[None]))[0]
        timestep = environment.step(action)
        replay.add(
            {
                "observation": observation,
                "action": action,
                "reward": timestep.reward,
                "discount": timestep.discount,
                "next_observation": timestep.observation,
            }
        )
        if timestep.last():
            timestep = environment.reset()
        if step > recipe.exploration_steps:
            state, _ = learner.update(state, replay.sample(rng, recipe.batch_size))
        if step % recipe.evaluation_interval == 0:
            returns = evaluation.evaluate(
                recipe.environment,
                functools.partial(_act, learner, state),
                episodes=recipe.evaluation_episodes,
                seed=seed,
            )
            evaluations.append(Evaluation(step, float(np.mean(returns))))
            report(evaluations[-1], time.perf_counter() - start)
            if has_reached(evaluations, recipe.target, recipe.patience):
                return state, evaluations
    raise DatasetError(
        f"SAC did not reach a mean return of {recipe.target} on {recipe.environment} twice in a row"
        f" within {recipe.max_steps} steps; raise --max-steps or lower --target"
    )


def train_and_save(
    environment: str, path: pathlib.Path, target: float | None, seed: int, max_steps: int
) -> None:
    """Trains a partially trained policy by BRAC's recipe, and saves it with its lineage.

    Args:
      environment: gymnasium id.
      path: the `.npz` to write; the lineage goes beside it, as `.json`.
      target: mean return to reach twice in a row; None for BRAC's of this environment.
      seed: of all that is random.
      max_steps: environment steps after which training gives up.

    Raises:
      DatasetError: there is no target, or the policy does not reach it.
    """
    target = TARGETS.get(environment) if target is None else target
    if target is None:
        raise DatasetError(f"BRAC names no target for {environment}: give one with --target")
    recipe = Recipe(environment, target, max_steps=max_steps)
    config = sac.Config(critic_sizes=BRAC_CRITIC_SIZES)
    with rich.progress.Progress(*COLUMNS, console=rich.console.Console(stderr=True)) as bar:
        task = bar.add_task(environment, total=max_steps, mean_return="")

        def report(evaluation: Evaluation, seconds: float) -> None:
            mean_return = f"mean return {evaluation.mean_return:,.0f} of {target:,.0f}"
            bar.update(task, completed=evaluation.step, mean_return=mean_return)

        state, evaluations = train_until_partial(recipe, config, seed, report)
    lineage = {
        "algorithm": "SAC",
        "recipe": dataclasses.asdict(recipe),
        "config": dataclasses.asdict(config),
        "seed": seed,
        "steps": evaluations[-1].step,
        "updates": int(state.steps),
        "evaluations": [dataclasses.astuple(e) for e in evaluations],
        "code_version": results.code_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    policies.save_policy(path, _layers(state.params.policy), lineage)


def _layers(params: types.Params) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel [in, out] and bias [out] of every layer of `networks.mlp`, in their order."""
    hidden = [params[name] for name in sorted(params) if name.startswith("hidden")]
    head = params["head"]
    layers = [(layer["w"], layer["b"]) for layer in hidden] + [(head["w"].T, head["b"])]
    return [(np.array(kernel), np.array(bias)) for kernel, bias in layers]


def _act(learner: types.Learner, state: types.TrainingState, observation: np.ndarray) -> np.ndarray:
    return np.asarray(learner.act(state, jax.numpy.asarray(observation)))
