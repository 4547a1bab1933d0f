"""The online phase of a run in a game: the agent plays, and learns from what it plays.

As in google-research/reincarnating_rl (Agarwal et al. 2022, arXiv:2206.01626), this is carried over
from the offline phase: the parameters, to which the target parameters are set; the optimiser's
state, unless the row says otherwise; the number of gradient steps, by which targets are copied; and
the number of steps, by which the agent explores. The replay buffer begins empty, and the agent does
not learn before the buffer has more than `min_replay` rows.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.reported.game_scores import columns
from benchmarks.training.cells import Cell, Progress
from benchmarks.training.online.atari_agent import Agent
from benchmarks.training.online.atari_schedule import PlayedEpisode
from benchmarks.training.online.guide import Guide
from benchmarks.training.online.played_run import PlayedRun
from benchmarks.training.online.replay_sampling import Mixed, Prioritized, Sampler, Uniform
from benchmarks.training.online_options import OnlineOptions, distillation_weight
from benchmarks.training.phases import Phase, Training
from benchmarks.training.tasks.atari import Atari
from benchmarks.training.teacher import Teacher
from learners import distillation, types
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayBuffer
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.priorities import RowPriorities

PLAYED = "played"  # the folder of the actions, in that of the run


def online_phase(
    cell: Cell,
    task: Atari,
    learner: types.Learner,
    teacher: Teacher | None,
    folder: pathlib.Path,
    progress: Progress,
) -> Phase:
    """The iterations of a cell that continues in its game.

    Args:
      cell: a cell that has an online phase.
      task: as the online phase cuts transitions.
      learner: of the online phase.
      teacher: None where the row has none.
      folder: of the run.
      progress: called with the cell and its step.
    """

    options = cell.online
    assert options is not None

    def enter(state: types.TrainingState) -> types.TrainingState:
        state = state._replace(target_params=jax.tree.map(jnp.copy, state.params))
        if options.keeps_optimizer:
            return state
        return state._replace(optimizer_state=learner.init(state.key).optimizer_state)

    @contextlib.contextmanager
    def opened(
        step: int, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> Iterator[Training]:
        phase = _Online(cell, options, task, learner, teacher, folder, progress)
        if facts:
            phase.resume(facts, arrays)
        yield phase

    return Phase(cell.online_ends, learner, enter, opened)


class _Online:
    """The phase under way, one iteration at a time."""

    def __init__(
        self,
        cell: Cell,
        options: OnlineOptions,
        task: Atari,
        learner: types.Learner,
        teacher: Teacher | None,
        folder: pathlib.Path,
        progress: Progress,
    ):
        self._cell, self._options, self._folder = cell, options, folder
        self._steps_before = cell.online_ends[0] - options.steps_per_iteration
        assert task.protocol.sticky_probability is not None
        environment = atari.AtariEnvironment(
            task.rom,
            [cell.seed, 0],
            sticky_probability=task.protocol.sticky_probability,
            max_steps=task.protocol.max_episode_steps,
        )
        buffer = ReplayBuffer(options.buffer_rows)
        guide = None
        if options.guide is not None:
            assert teacher is not None
            guide = Guide(options.guide, teacher.act)
        self._agent = Agent(
            learner,
            None,
            environment.action_spec().num_values,
            self._sampler(task, buffer),
            np.random.default_rng([cell.seed, 1]),
            lambda step: options.epsilon_at(self._steps_before + step),
            options.min_replay,
            options.update_period,
            cell.recipe.batch_size,
            guide,
        )

        def report(steps: int, iterations: list[list[PlayedEpisode]]) -> None:
            done = len(iterations) * options.steps_per_iteration
            within = min(steps, options.steps_per_iteration)
            progress(cell, self._steps_before + done + within)

        self._played = PlayedRun(
            cell.row.scoring.environment,
            environment,
            buffer,
            options.steps_per_iteration,
            folder / PLAYED,
            report,
        )
        self._weight = 1.0
        self._teacher_score = None
        if teacher is not None:
            returns = task.score(teacher.act, cell.recipe.episodes, (cell.seed, 0))
            self._teacher_score = float(returns.mean())

    def resume(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Plays the iterations so far again, and takes up the rest where it was."""
        episodes = [[PlayedEpisode(*each) for each in of] for of in facts["iterations"]]
        self._played.play_again(episodes, f"remove {self._folder} to run it again")
        self._agent.steps, self._weight = facts["agent_steps"], facts["weight"]
        self._agent.rng.bit_generator.state = facts["rng"]
        self._agent.sampler.restore(arrays)
        if self._agent.guide is not None:
            self._agent.guide.horizon, self._agent.guide.steps = facts["guide"]

    def train(self, state: Any) -> tuple[Any, Mapping[str, Any]]:
        agent = self._agent
        agent.state, agent.metrics = state, {}
        self._played.play_iteration(agent.choose, agent.begin_episode)
        self._played.keep_actions()
        self._played.report(0, self._played.iterations)
        if agent.guide is not None:
            agent.guide.end_iteration()
        played = [each.episode_return for each in self._played.iterations[-1]]
        measured = {
            **agent.metrics,
            "played_return": np.mean(played),
            "agent_steps": agent.steps,
            "distillation_weight": self._weight,
        }
        if self._teacher_score is not None:
            measured["teacher_return"] = self._teacher_score
        return agent.state, measured

    def evaluated(self, state: Any, returns: np.ndarray) -> Any:
        """The state with the weight of the distillation that its score asks for."""
        if not isinstance(state.optimizer_state, distillation.Annealed):
            return state
        assert self._teacher_score is not None
        options = self._options
        self._weight = distillation_weight(
            options.weight_rule,
            self._weight,
            float(returns.mean()),
            self._teacher_score,
            columns()["random"][self._cell.row.scoring.environment],
        )
        if self._agent.steps > options.weight_steps:
            self._weight = 0.0
        return distillation.with_weight(state, self._weight)

    def kept(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        guide = self._agent.guide
        facts = {
            "iterations": self._played.iterations,
            "agent_steps": self._agent.steps,
            "rng": self._agent.rng.bit_generator.state,
            "weight": self._weight,
            "guide": None if guide is None else [guide.horizon, guide.steps],
        }
        return facts, self._agent.sampler.kept()

    def _sampler(self, task: Atari, buffer: ReplayBuffer) -> Sampler:
        cut, options = task.cut, self._options
        if options.prioritizes:
            return Prioritized(buffer, RowPriorities(options.buffer_rows), cut.n_step, cut.gamma)
        played = Uniform(buffer, cut.n_step, cut.gamma)
        if not options.teacher_share:
            return played
        batch_size = self._cell.recipe.batch_size
        given = ArrayFeed(task.transitions(), batch_size, self._cell.seed, steps=1)
        return Mixed(played, given, options.teacher_share)
