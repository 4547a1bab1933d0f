"""The task of a row of a game: stacks of frames as data, scored in the emulator.

The policy is scored by Dopamine's protocol, on the ROMs and with the sticky actions that the
dataset's lineage names.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from dm_env import specs

from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.game_evaluation import play_games
from benchmarks.training.game_player import Act
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import AS_SERVED, AS_STORED, Row
from benchmarks.training.tasks import memory
from learners import types
from rl_datasets import roms
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.serving import frame_windows
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows
from rl_datasets.serving.share import Share
from rl_datasets.serving.source_samplings import Sampling, SourceFeed
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.atari import ATARI_GAMES, FRAME_SHAPE
from rl_datasets.sources.dqn_replay import STACK_SIZE
from rl_datasets.sources.rl_unplugged import STORED_REWARD


@dataclasses.dataclass(frozen=True)
class Atari:
    """A row whose environment is a game.

    Attributes:
      row, version, identity, cut: as in `ContinuousControl`.
      rom: the file of the ROM on which the policy is scored.
      protocol: how the policy is scored, with the probability of sticky actions.
      sampling: how batches are drawn; None if they are drawn uniformly.
    """

    row: Row
    version: Version
    identity: Mapping[str, Any]
    cut: Cut
    rom: pathlib.Path
    protocol: AtariProtocol
    sampling: Sampling | None = None
    extras: ClassVar[tuple[str, ...]] = ()
    spec_type: ClassVar = types.DiscreteSpec

    @classmethod
    def of(cls, recipe: Recipe, row: Row, version: Version) -> Atari:
        """The task of a row, after checking that its policy can be scored.

        Raises:
          DatasetError: the row has options that games do not have; its learner does not discount
            rewards and the row has an n_step; the dataset is of another game, its frames or actions
            are not the game's, or it holds no episodes; there is no such split, or there are too
            few for the sampling; or the lineage names no ROMs or sticky actions, or ROMs that are
            not installed.
        """
        game = row.scoring.environment
        if row.differing(AS_SERVED).items() - {("reading", AS_STORED)}:
            raise DatasetError(
                f"row {row.name!r} is of a game, whose frames and rewards are as they are served: "
                f"leave out {', '.join(AS_SERVED)}"
            )
        lineage = version.lineage
        try:
            spec, _ = version.episode_spec, version.split_names(row.data.split)
            rom_set = roms.roms_for(lineage.facts)
            rom = roms.rom_path(game, rom_set)
        except DatasetError as error:
            raise DatasetError(f"{row.data.dataset} in {game}: {error}") from error
        if lineage.game != game or lineage.sticky_probability is None:
            raise DatasetError(
                f"{row.data.dataset} is of the game {lineage.game} with sticky actions of "
                f"probability {lineage.sticky_probability}, by its lineage, and the row's "
                f"environment is {game}: name the game that the data are from"
            )
        _check_fields(row, spec)
        protocol = recipe.atari
        if protocol.sticky_probability is None:
            protocol = dataclasses.replace(protocol, sticky_probability=lineage.sticky_probability)
        identity = {
            "split": row.data.split,
            "n_step": row.data.n_step,
            "rom_set": rom_set,
            "rom_md5": hashlib.md5(rom.read_bytes()).hexdigest(),
            **protocol.identity,
            **row.data.identity_of_share,
        }
        cut = Cut(row.data.n_step, recipe.discount(row), STACK_SIZE)
        if row.data.reading == AS_STORED:
            if STORED_REWARD not in spec.extras:
                raise DatasetError(
                    f"row {row.name!r} reads rewards as stored, and {row.data.dataset} does not "
                    f"have their field, {STORED_REWARD}: name a version of rl_unplugged_atari from "
                    "2.0.0 on, or leave out its reading"
                )
            identity["reading"] = row.data.reading
            cut = dataclasses.replace(cut, reward_field=STORED_REWARD)
        sampling = _sampling(row, version)
        if sampling is not None:
            of_sampling = (f"{name} {value}" for name, value in vars(sampling).items() if value)
            identity["sampling"] = ", ".join([row.data.sampling, *of_sampling])
        return cls(row, version, identity, cut, rom, protocol, sampling)

    def read_by(self, name: str, extras: tuple[str, ...]) -> Atari:
        """The task for the learner of this name, which reads these extras.

        Raises:
          DatasetError: the learner reads extras, which data of games do not have.
        """
        if extras:
            raise DatasetError(
                f"learner {name} reads the {' and '.join(extras)} of a transition, which "
                f"data of games are not given with: name another for row {self.row.name!r}"
            )
        return self

    def transitions(self) -> Any:
        """All data that the row trains on, in memory, each frame once."""
        self.check_memory()
        data = self.row.data
        return _windows(self.version, data.split, self.cut, data.uniform_share())

    def check_memory(self) -> None:
        """Refuses a row whose frames do not fit in memory, counting those held at the same time.

        Raises:
          DatasetError: they do not fit.
        """
        version, data = self.version, self.row.data
        if self.sampling is None:
            counts = version.counts(data.split)
            num_frames = frame_windows.most_frames(counts, self.cut, data.uniform_share())
        else:
            names = version.split_names(data.split)
            num_frames = self.sampling.most([version.counts(name).transitions for name in names])
        memory.check(version, "frames", num_frames * math.prod(FRAME_SHAPE))

    def source_feed(self, sampling: Sampling, batch_size: int, seed: int, steps: int) -> SourceFeed:
        """Batches drawn as a source drew them, from the files held at the same time."""
        split = self.row.data.split
        return SourceFeed(self.version, sampling, batch_size, seed, steps, split, self.cut)

    def reward_scale(self, feed: str) -> float:
        """The factor by which rewards are multiplied: always 1."""
        return 1.0

    def spec(self, feed: str = "arrays") -> types.DiscreteSpec:
        """The spec of the game and its data; it has no statistics, so every feed has the same."""
        num_actions = ATARI_GAMES[self.row.scoring.environment].num_actions
        return types.DiscreteSpec(num_actions, (*FRAME_SHAPE[:2], STACK_SIZE))

    def shapes(self) -> types.DiscreteSpec:
        """The same as `spec`."""
        return self.spec()

    def batches(self, spec: types.DiscreteSpec, leading: tuple[int, ...]) -> Transition:
        """The shapes of a batch with these leading axes: [*leading, ...]."""
        observation = jax.ShapeDtypeStruct((*leading, *spec.observation_shape), np.uint8)
        action = jax.ShapeDtypeStruct(leading, np.int32)
        scalar = jax.ShapeDtypeStruct(leading, np.float32)
        return Transition(observation, action, scalar, scalar, observation, {})

    def steps_in_a_call(self, evaluate_every: int) -> int:
        """Number of gradient steps of one jitted update; a batch of 32 with stacks takes 2 MB."""
        redraw = self.sampling.redraw if self.sampling else None
        return math.gcd(evaluate_every, 20, redraw or 0)

    def score(self, act: Act, episodes: int, seed: Sequence[int]) -> np.ndarray:
        """Plays an evaluation, and returns its episodes' returns, [E] float64, not clipped."""
        return play_games(self.rom, self.protocol, act, episodes, seed)


def _check_fields(row: Row, spec: EpisodeSpec) -> None:
    """Refuses data whose frames or actions are not those of the game."""
    frames, actions = spec.observation, spec.action
    shape = None if isinstance(frames, Mapping) else frames.shape
    if shape != FRAME_SHAPE:
        raise DatasetError(
            f"{row.data.dataset} has observations of shape {shape}, and games are scored on "
            f"frames of {FRAME_SHAPE}: name data with such frames"
        )
    count = ATARI_GAMES[row.scoring.environment].num_actions
    numbered = isinstance(actions, specs.BoundedArray) and actions.shape == ()
    if not numbered or (actions.minimum, actions.maximum) != (0, count - 1):
        raise DatasetError(
            f"{row.data.dataset} has actions {actions}, and {row.scoring.environment} has "
            f"the {count} of its minimal set: name data with those"
        )


@functools.lru_cache(maxsize=1)
def _windows(version: Version, split: str, cut: Cut, share: Share | None) -> Any:
    """The data in memory; on an accelerator, all seeds share one copy of the frames there."""
    windows = load_frame_windows(version, split, cut, share)
    if jax.default_backend() == "cpu":
        return windows
    return windows._replace(frames=jax.device_put(windows.frames))


def _sampling(row: Row, version: Version) -> Sampling | None:
    """How batches are drawn, after checking that there are enough files."""
    sampling = row.data.source_sampling()
    if sampling is not None:
        try:
            sampling.held(len(version.split_names(row.data.split)), seed=0, draw=0)
        except DatasetError as error:
            raise DatasetError(
                f"row {row.name!r} draws from {row.data.dataset} as {row.data.sampling} does: "
                f"{error} in its sampling_options"
            ) from error
    return sampling
