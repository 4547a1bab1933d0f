"""What a row of a game asks: stacks of frames go in, and the emulator scores the policy.

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
      row, version, identity, cut: as of `ContinuousControl`.
      rom: that scores are measured on.
      sampling: how batches are drawn; None where they are uniform.
      protocol: by which they are, with its sticky actions.
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
        """The task, once it is certain that its policy can be scored.

        Raises:
          DatasetError: the row reads its data otherwise than games are read; its learner cannot
            have its n_step; the dataset is of another game, has other frames or actions than it,
            holds no episodes, no such split or too few for its sampling, or its lineage names no
            ROMs or sticky actions, or ROMs that are not installed.
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
        """The task as a learner of this name reads its data, and these extras of them.

        Raises:
          DatasetError: it reads more than they have.
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
        """Refuses data whose frames do not fit in memory, as far as they are held at once.

        Raises:
          DatasetError: they do not.
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
        """Batches drawn as a source drew them, from the files that are held at once."""
        split = self.row.data.split
        return SourceFeed(self.version, sampling, batch_size, seed, steps, split, self.cut)

    def reward_scale(self, feed: str) -> float:
        """The factor by which rewards are multiplied: none is, by any feed."""
        return 1.0

    def spec(self, feed: str = "arrays") -> types.DiscreteSpec:
        """The game's, which its data share; the same by any feed, as it has no statistics."""
        num_actions = ATARI_GAMES[self.row.scoring.environment].num_actions
        return types.DiscreteSpec(num_actions, (*FRAME_SHAPE[:2], STACK_SIZE))

    def shapes(self) -> types.DiscreteSpec:
        """The same."""
        return self.spec()

    def batches(self, spec: types.DiscreteSpec, leading: tuple[int, ...]) -> Transition:
        """The shapes of batches [*leading, ...]."""
        observation = jax.ShapeDtypeStruct((*leading, *spec.observation_shape), np.uint8)
        action = jax.ShapeDtypeStruct(leading, np.int32)
        scalar = jax.ShapeDtypeStruct(leading, np.float32)
        return Transition(observation, action, scalar, scalar, observation, {})

    def steps_in_a_call(self, evaluate_every: int) -> int:
        """Gradient steps of one jitted update: 32 transitions with their stacks are 2 MB."""
        redraw = self.sampling.redraw if self.sampling else None
        return math.gcd(evaluate_every, 20, redraw or 0)

    def score(self, act: Act, episodes: int, seed: Sequence[int]) -> np.ndarray:
        """Returns [E] float64 of the episodes of an evaluation; rewards are not clipped."""
        return play_games(self.rom, self.protocol, act, episodes, seed)


def _check_fields(row: Row, spec: EpisodeSpec) -> None:
    """Refuses data whose frames or actions are not those that the game is scored with."""
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
    """Where batches are gathered on an accelerator, all seeds share the frames in its memory."""
    windows = load_frame_windows(version, split, cut, share)
    if jax.default_backend() == "cpu":
        return windows
    return windows._replace(frames=jax.device_put(windows.frames))


def _sampling(row: Row, version: Version) -> Sampling | None:
    """How batches are drawn, once it is certain that there are files enough."""
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
