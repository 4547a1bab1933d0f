"""Online soft actor-critic: when a policy counts as partially trained, and when as an expert.

BRAC (Wu et al. 2019, arXiv 1911.11361) collects its data with policies of half-finished SAC runs:
every 5,000 steps the mode policy plays 20 episodes, and the first policy whose last two evaluations
both reach the target is kept. The loop is one environment step to one update, after 10,000 steps of
uniformly random actions.

D4RL (Fu et al. 2020, arXiv 2004.07219) trained with rlkit's SAC: `medium` is the policy at a
level in between, `medium-replay` the replay buffer of that moment, `expert` the policy at the end.
It says neither at which level nor when the end is; here the level is what D4RL's own medium
policy returns, by BRAC's rule, and the end is where evaluations hardly rise any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dm_env
import jax
import numpy as np
import rich.console
import rich.progress

from benchmarks.training import evaluation, online_checkpoint, online_replay, results
from learners import sac, types
from rl_datasets.collection import environments, policies
from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition

PARTIAL, MEDIUM, EXPERT = "partial", "medium", "expert"

# Mean return that a policy must reach twice in a row. Of the partially trained, HalfCheetah's is in
# BRAC's README, and the others are the default of its `eval_target` flag. Of the medium ones, it is
# what the policies in D4RL's `-medium-v2` files returned over 1,000,000 transitions in that body
# (benchmarks/results/d4rl_comparison has the v2 bodies). An expert trains on.
TARGETS = {
    PARTIAL: {
        **{f"HalfCheetah-{version}": 4000.0 for version in ("v2", "v4")},
        **{
            f"{task}-{version}": 1000.0
            for task in ("Hopper", "Walker2d", "Ant")
            for version in ("v2", "v4")
        },
    },
    MEDIUM: {
        "HalfCheetah-v2": 4743.0,
        "Hopper-v2": 1401.0,
        "Walker2d-v2": 2850.0,
        "HalfCheetah-v4": 4750.0,
        "Hopper-v4": 1259.0,
        "Walker2d-v4": 2868.0,
    },
    EXPERT: {},
}

# BRAC's README says (300, 300), but the critics in the checkpoints that it ships are these.
BRAC_SAC = sac.Config(critic_sizes=(200, 200))

# examples/sac.py of rlkit; its log standard deviations are clipped, where BRAC's are squashed.
RLKIT_SAC = sac.Config(
    policy_sizes=(256, 256), critic_sizes=(256, 256), learning_rate=3e-4, adam_epsilon=1e-8
)
RLKIT_EXPLORATION_STEPS = 1_000  # By its untrained policy; here uniform, as BRAC's.

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
      target: mean return that `patience` evaluations in a row must reach; None to go on until the
        policy hardly improves any more.
      patience: how many evaluations in a row.
      window: without a target, training ends when the mean of the last `window` evaluations ...
      gain: ... exceeds that of the `window` before by less than this share of it.
      exploration_steps: environment steps with uniformly random actions, without updates.
      evaluation_interval: environment steps between evaluations.
      evaluation_episodes: episodes an evaluation, played with the mode of the policy.
      max_steps: environment steps after which training gives up.
      batch_size: transitions an update.
      replay_capacity: transitions held; the oldest are overwritten.
    """

    environment: str
    target: float | None
    patience: int = 2
    window: int = 40
    gain: float = 0.05
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
            "is_last": (),
        }
        self._fields = {
            name: np.empty((capacity, *size), np.float32) for name, size in sizes.items()
        }
        self._capacity = capacity
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, transition: Mapping[str, Any]) -> None:
        """Overwrites the oldest transition.

        Args:
          transition: by `Transition`'s field names, and `is_last`: whether its episode ended.
        """
        index = self._added % self._capacity
        for name, field in self._fields.items():
            field[index] = transition[name]
        self._added += 1

    def sample(self, rng: np.random.Generator, batch_size: int) -> Transition:
        """A batch [1, B, ...], one for each update of a scan of one."""
        indices = rng.integers(len(self), size=batch_size)
        batch = {
            name: self._fields[name][indices][None]
            for name in Transition._fields
            if name != "extras"
        }
        return Transition(**batch, extras={})

    def latest(self, count: int) -> dict[str, np.ndarray]:
        """The last `count` transitions [N, ...] that were added, or as many as there are."""
        first = self._added - min(count, len(self))
        return {name: field[self._places(first)] for name, field in self._fields.items()}

    def restore(self, added: int, latest: Mapping[str, np.ndarray]) -> None:
        """Puts what `latest` gave back where it was when `added` transitions had been added."""
        self._added = added
        places = self._places(added - len(latest["reward"]))
        for name, field in self._fields.items():
            field[places] = latest[name]

    def _places(self, first: int) -> np.ndarray:
        return np.arange(first, self._added) % self._capacity


def has_reached(evaluations: Sequence[Evaluation], target: float, patience: int) -> bool:
    """Whether the last `patience` evaluations all reach the target."""
    recent = evaluations[-patience:]
    return len(recent) == patience and all(e.mean_return >= target for e in recent)


def has_converged(evaluations: Sequence[Evaluation], window: int, gain: float) -> bool:
    """Whether the last `window` evaluations exceed those before by less than `gain` of them."""
    if len(evaluations) < 2 * window:
        return False
    before, last = np.reshape([e.mean_return for e in evaluations[-2 * window :]], (2, -1)).mean(1)
    return bool(last - before < gain * abs(before))


def train(
    recipe: Recipe,
    config: sac.Config,
    seed: int,
    report: Callable[[Evaluation, float], None] = lambda evaluation, seconds: None,
    folder: pathlib.Path | None = None,
) -> Training:
    """Trains SAC online until the recipe says that its policy is done.

    Args:
      recipe: environment, target and schedule.
      config: of the learner.
      seed: of the networks, the environment, the exploration and the sampling.
      report: called after each evaluation with it and the seconds since the start, and with the
        last one of a run that goes on.
      folder: keeps every evaluation's checkpoint; a run that was cut goes on from the last one,
        and ends as it would have ended without the cut, bit for bit. None to keep nothing.

    Returns:
      The training at the moment the rule was met: the learner's state, the evaluations, the
      replay buffer.

    Raises:
      DatasetError: the rule was not met within `recipe.max_steps`; or the folder holds another
        run, is damaged, or is another process's.
    """
    training = Training(recipe, config, seed)
    if folder is None:
        _train(training, report, None)
        return training
    with online_checkpoint.opened(folder, _identity(recipe, config, seed)) as checkpoints:
        training.go_on(checkpoints)
        if training.evaluations:
            report(training.evaluations[-1], 0.0)
        _train(training, report, checkpoints)
    return training


def _train(
    training: Training,
    report: Callable[[Evaluation, float], None],
    checkpoints: online_checkpoint.CheckpointFolder | None,
) -> None:
    recipe, start = training.recipe, time.perf_counter()
    while training.step < recipe.max_steps:
        training.take_step()
        if training.step % recipe.evaluation_interval:
            continue
        training.evaluate()
        report(training.evaluations[-1], time.perf_counter() - start)
        if _is_done(recipe, training.evaluations):
            return
        if checkpoints is not None:
            training.keep(checkpoints)
    if recipe.target is None:
        raise DatasetError(
            f"SAC still improves on {recipe.environment} after {recipe.max_steps} steps; raise "
            "--max-steps"
        )
    raise DatasetError(
        f"SAC did not reach a mean return of {recipe.target} on {recipe.environment} twice in a row"
        f" within {recipe.max_steps} steps; raise --max-steps or lower --target"
    )


def _is_done(recipe: Recipe, evaluations: Sequence[Evaluation]) -> bool:
    if recipe.target is None:
        return has_converged(evaluations, recipe.window, recipe.gain)
    return has_reached(evaluations, recipe.target, recipe.patience)


class Training:
    """All that changes while a policy trains, and the one step that changes it.

    Attributes:
      recipe: that it follows.
      state: of the learner.
      replay: the transitions so far.
      evaluations: the results so far.
      step: environment steps so far.
    """

    _timestep: dm_env.TimeStep
    _actions: list[np.ndarray]  # Since the last reset.

    def __init__(self, recipe: Recipe, config: sac.Config, seed: int):
        self.recipe, self._seed = recipe, seed
        self._rng = np.random.default_rng(seed)
        self._environment = environments.make_environment(recipe.environment, seed=seed)
        observation, self._bounds = environments.policy_specs(recipe.environment)
        (observation_size,), (action_size,) = observation.shape, self._bounds.shape
        spec = types.Spec(observation_size, action_size, self._bounds.minimum, self._bounds.maximum)
        self._learner = sac.make(config, spec)
        key, self._action_key = jax.random.split(jax.random.PRNGKey(seed))
        self.state = self._learner.init(key)
        capacity = min(recipe.replay_capacity, recipe.max_steps)
        self.replay = ReplayBuffer(capacity, observation_size, action_size)
        self.evaluations: list[Evaluation] = []
        self.step = self._resets = 0
        self._reset()

    def take_step(self) -> None:
        """One step of the environment and, after exploration, one update."""
        self.step += 1
        is_exploring = self.step <= self.recipe.exploration_steps
        observation = self._timestep.observation
        action = self._explore() if is_exploring else self._sample(observation)
        self._actions.append(action)
        self._timestep = self._environment.step(action)
        self.replay.add(
            {
                "observation": observation,
                "action": action,
                "reward": self._timestep.reward,
                "discount": self._timestep.discount,
                "next_observation": self._timestep.observation,
                "is_last": self._timestep.last(),
            }
        )
        if self._timestep.last():
            self._reset()
        if not is_exploring:
            batch = self.replay.sample(self._rng, self.recipe.batch_size)
            self.state, _ = self._learner.update(self.state, batch)

    def evaluate(self) -> None:
        """Plays episodes with the mode of the policy."""
        returns = evaluation.evaluate(
            self.recipe.environment,
            functools.partial(_act, self._learner, self.state),
            episodes=self.recipe.evaluation_episodes,
            seed=self._seed,
        )
        self.evaluations.append(Evaluation(self.step, float(np.mean(returns))))

    def keep(self, checkpoints: online_checkpoint.CheckpointFolder) -> None:
        """Writes a checkpoint, right after an evaluation."""
        checkpoint = online_checkpoint.Checkpoint(
            step=self.step,
            state=self.state,
            rng=self._rng.bit_generator.state,
            evaluations=[dataclasses.astuple(each) for each in self.evaluations],
            resets=self._resets,
            actions=np.array(self._actions, np.float32),
            observation=self._timestep.observation,
        )
        checkpoints.save(checkpoint, self.replay.latest(self.recipe.evaluation_interval))

    def go_on(self, checkpoints: online_checkpoint.CheckpointFolder) -> None:
        """Goes on from the last checkpoint, if there is one."""
        checkpoint = checkpoints.restore(self.state)
        if checkpoint is None:
            return
        self.step, self.state = checkpoint.step, checkpoint.state
        self._rng.bit_generator.state = checkpoint.rng
        self.evaluations = [Evaluation(*each) for each in checkpoint.evaluations]
        for each in self.evaluations:
            self.replay.restore(each.step, checkpoints.transitions(each.step))
        while self._resets < checkpoint.resets:
            self._reset()
        for action in checkpoint.actions:
            self._actions.append(action)
            self._timestep = self._environment.step(action)
        if not np.array_equal(self._timestep.observation, checkpoint.observation):
            raise DatasetError(
                f"{self.recipe.environment} does not repeat the episode that the checkpoint at "
                f"step {self.step} was taken in; delete its folder to train from the start"
            )

    def _reset(self) -> None:
        self._timestep = self._environment.reset()
        self._resets += 1
        self._actions = []

    def _explore(self) -> np.ndarray:
        return self._rng.uniform(self._bounds.minimum, self._bounds.maximum).astype(np.float32)

    def _sample(self, observation: Any) -> np.ndarray:
        assert self._learner.sample is not None
        key = jax.random.fold_in(self._action_key, self.step)
        return np.asarray(self._learner.sample(self.state, key, observation[None]))[0]


def _identity(recipe: Recipe, config: sac.Config, seed: int) -> dict[str, Any]:
    """All that a run's bytes follow from; when it ends is not among it."""
    schedule = dataclasses.asdict(recipe)
    for when_it_ends in ("max_steps", "target", "patience", "window", "gain"):
        del schedule[when_it_ends]
    return {
        "recipe": schedule,
        "config": dataclasses.asdict(config),
        "seed": seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def recipe_of(
    kind: str, environment: str, target: float | None, max_steps: int
) -> tuple[Recipe, sac.Config]:
    """The schedule and the learner of a kind of policy.

    Args:
      kind: `partial`, `medium` or `expert`, as the module says.
      environment: gymnasium id.
      target: mean return to reach twice in a row; None for the kind's own.
      max_steps: environment steps after which training gives up.

    Raises:
      DatasetError: there is no such kind; or it has no target of its own for the environment, or
        takes none.
    """
    if kind not in TARGETS:
        raise DatasetError(f"there is no kind of policy {kind!r}: give one of {', '.join(TARGETS)}")
    if kind == EXPERT and target is not None:
        raise DatasetError("an expert trains until it hardly improves: give no --target")
    environment = environments.resolve(environment)
    if kind != EXPERT and target is None:
        target = TARGETS[kind].get(environment)
        if target is None:
            raise DatasetError(
                f"there is no target of a {kind} policy for {environment}: give one with --target"
            )
    if kind == PARTIAL:
        return Recipe(environment, target, max_steps=max_steps), BRAC_SAC
    recipe = Recipe(
        environment, target, exploration_steps=RLKIT_EXPLORATION_STEPS, max_steps=max_steps
    )
    return recipe, RLKIT_SAC


def train_and_save(
    environment: str,
    path: pathlib.Path,
    kind: str,
    target: float | None,
    seed: int,
    max_steps: int,
    replay: pathlib.Path | None = None,
) -> None:
    """Trains a policy, and saves it with its lineage, and its replay buffer where one asks for it.

    Checkpoints lie beside the policy until it is saved, in a folder of its name that ends in
    `.training`: the same call goes on where it was cut, and a greater `max_steps` where it gave up.

    Args:
      environment: gymnasium id.
      path: the `.npz` to write; the lineage goes beside it, as `.json`.
      kind: of policy, as `recipe_of` takes it.
      target: mean return to reach twice in a row; None for the kind's own of this environment.
      seed: of all that is random.
      max_steps: environment steps after which training gives up.
      replay: the folder to write the replay buffer to, as a collected folder; see
        `online_replay`.

    Raises:
      DatasetError: there is no target, the policy does not reach it, or a file cannot be written.
    """
    if path.suffix != ".npz":
        raise DatasetError(f"a policy is written to a .npz file, and {path} is none: name one")
    recipe, config = recipe_of(kind, environment, target, max_steps)
    if recipe.target is not None and not np.isfinite(recipe.target):
        raise DatasetError(f"--target must be a finite number, got {recipe.target}")
    if replay is not None:
        if kind != MEDIUM:
            raise DatasetError(f"only a {MEDIUM} policy's replay buffer is a data set of D4RL")
        online_replay.check(replay, max_steps, recipe.replay_capacity)
    folder = path.with_suffix(".training")
    with _progress(recipe) as report:
        training = train(recipe, config, seed, report, folder)
    lineage = {
        "algorithm": "SAC",
        "kind": kind,
        "recipe": dataclasses.asdict(recipe),
        "config": dataclasses.asdict(config),
        "seed": seed,
        "steps": training.step,
        "updates": int(training.state.steps),
        "evaluations": [dataclasses.astuple(e) for e in training.evaluations],
        "code_version": results.code_version(),
        "versions": _versions(),
    }
    policies.save_policy(path, _layers(training.state.params.policy), lineage)
    if replay is not None:
        transitions = training.replay.latest(training.step)
        online_replay.write(replay, environment, seed, transitions, path)
    shutil.rmtree(folder)


@contextlib.contextmanager
def _progress(recipe: Recipe) -> Iterator[Callable[[Evaluation, float], None]]:
    """A bar on a terminal's standard error, and a line an evaluation where that is no terminal."""
    console = rich.console.Console(stderr=True)
    if not console.is_terminal:
        yield functools.partial(_print, recipe)
        return
    with rich.progress.Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task(recipe.environment, total=recipe.max_steps, mean_return="")
        yield lambda evaluation, seconds: bar.update(
            task, completed=evaluation.step, mean_return=_of_target(evaluation, recipe)
        )


def _print(recipe: Recipe, evaluation: Evaluation, seconds: float) -> None:
    line = (
        f"{recipe.environment}: step {evaluation.step:,} of at most {recipe.max_steps:,}, "
        f"{_of_target(evaluation, recipe)}, {seconds:,.0f} s"
    )
    print(line, file=sys.stderr, flush=True)


def _of_target(evaluation: Evaluation, recipe: Recipe) -> str:
    target = "" if recipe.target is None else f" of {recipe.target:,.0f}"
    return f"mean return {evaluation.mean_return:,.0f}{target}"


def _layers(params: types.Params) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel [in, out] and bias [out] of every layer of `networks.mlp`, in their order."""
    hidden = [params[name] for name in sorted(params) if name.startswith("hidden")]
    head = params["head"]
    layers = [(layer["w"], layer["b"]) for layer in hidden] + [(head["w"].T, head["b"])]
    return [(np.array(kernel), np.array(bias)) for kernel, bias in layers]


def _act(learner: types.Learner, state: types.TrainingState, observation: np.ndarray) -> np.ndarray:
    return np.asarray(learner.act(state, jax.numpy.asarray(observation)))
