"""A row of a table: what its data are, what learns from them, and how the policy is scored.

A recipe's file gives the options of a row flat, and `Row.of` puts each into its group.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from rl_datasets.serving.share import Share
    from rl_datasets.serving.source_samplings import Sampling

# What a row's data are to those that its reported value was measured on.
PUBLISHED: Final = "published"  # the same files
AGAIN: Final = "collected again"  # by the publisher's own policies: compared, and said to be
OWN: Final = "own"  # of this project's own policies, or by any other rule: stands apart

UNIFORM: Final = "uniform"  # how batches are drawn, unless a row says otherwise

RETURN_RANGE = "1000 / return range"  # IQL's `reward_scale`: 1000 / (highest - lowest return)

# How a row's data are read as transitions.
CORRECTED: Final = "corrected"  # every transition that they hold
QLEARNING_DATASET: Final = "qlearning_dataset"  # as D4RL's function of that name gives them
AS_STORED: Final = "as_stored"  # rewards in the rows of RL Unplugged's files, one step too early

# Options of a row whose learner is given transitions as they are served.
AS_SERVED = {
    "normalize_observations": False,
    "reward_scale": 1.0,
    "reward_bias": 0.0,
    "reading": CORRECTED,
    "across_time_limits": False,
}

Text = Annotated[str, "[1, inf)"]
Count = Annotated[int, "[1, inf)"]
_VERSION = re.compile(r"\w[^/:]*/\w[^/:]*:\d+\.\d+\.\d+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowData:
    """The data that a row's learner is trained on, and how it reads them.

    Attributes:
      dataset: `builder/config:version`.
      split: the part of the dataset that is trained on: a split, several joined by `+`, or `all`.
      kind: `PUBLISHED`, `AGAIN` or `OWN`; the file calls it `data`. By default `OWN` if the
        dataset's name says that it was collected again, else `PUBLISHED`.
      share: the part of the split's transitions that is trained on, such as 0.01, each of them
        equally likely to be in it; 1 for all (`rl_datasets.serving.share`).
      share_seed: seeds the draw of the share, which all of the row's runs have in common.
      n_step: rewards in a transition; they end where an episode does.
      reading: `CORRECTED`, `QLEARNING_DATASET` (`rl_datasets.serving.d4rl`), or, for episodes of RL
        Unplugged's games, `AS_STORED`.
      sampling: how batches are drawn: `UNIFORM`, or, for data of games, as the source of that name
        drew them (`rl_datasets.serving.source_samplings`).
      sampling_options: fields of that sampling in which the row differs from the source.
      across_time_limits: a defect of Tianshou's: a transition's rewards continue after a time limit
        (`rl_datasets.serving.time_limits.across_time_limits`).
      normalize_observations: whether the learner gets observations minus their mean in the data,
        divided by their standard deviation.
      reward_scale, reward_bias: the learner gets scale * reward + bias; a scale of `RETURN_RANGE`
        depends on the data. Scores are sums of the environment's own rewards.
    """

    dataset: Text
    split: Text = "all"
    kind: Literal["", "published", "collected again", "own"] = ""
    share: Annotated[float, "(0, 1]"] = 1.0
    share_seed: Annotated[int, "[0, 4294967295]"] = 0
    n_step: Count = 1
    reading: Literal["corrected", "qlearning_dataset", "as_stored"] = CORRECTED
    sampling: Literal["uniform", "batch_rl", "cql", "slimcql", "rl_unplugged"] = UNIFORM
    sampling_options: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    across_time_limits: bool = False
    normalize_observations: bool = False
    reward_scale: Annotated[float, "(0, inf)"] | Literal["1000 / return range"] = 1.0
    reward_bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", OWN if self._is_collected_again else PUBLISHED)

    @property
    def _is_collected_again(self) -> bool:
        return "-recollected" in self.dataset

    @property
    def version_path(self) -> pathlib.PurePath:
        """Where the version lies below a data directory: `builder/config/version`."""
        name, _, version = self.dataset.partition(":")
        return pathlib.PurePath(name) / version

    def uniform_share(self) -> Share | None:
        """The share of the split that is trained on; None if that is all of it."""
        from rl_datasets.serving.share import Share  # Brings NumPy.

        return None if self.share == 1 else Share(self.share, self.share_seed)

    @property
    def identity_of_share(self) -> dict[str, Any]:
        """What the share adds to a run's identity; nothing if it is all of the split."""
        return {} if self.share == 1 else {"share": self.share, "share_seed": self.share_seed}

    @property
    def drawing(self) -> str:
        """How batches are drawn, for a heading; "" if they are uniform over all of the split."""
        if self.share < 1:
            return f"a uniform {100 * self.share:.10g}% of the data"
        return "" if self.sampling == UNIFORM else f"sampled as {self.sampling}"

    def source_sampling(self) -> Sampling | None:
        """The sampling, with the row's options; None where it is uniform.

        Raises:
          DatasetError: it has no such options, or a value is out of its range.
        """
        from rl_datasets.serving.source_samplings import SAMPLINGS  # Brings NumPy and its readers.

        where = f"sampling_options of {self.sampling}"
        if self.sampling == UNIFORM:
            if self.sampling_options:
                raise DatasetError(f"{where}: there are none, leave them out")
            return None
        source = SAMPLINGS[self.sampling]
        own = {name: value for name, value in vars(source).items() if value is not None}
        return toml_tables.build(type(source), {**own, **self.sampling_options}, where)

    def check(self, row: str) -> None:
        """Refuses options that do not go together, in the name of a row.

        Raises:
          DatasetError: there are such options, or the dataset is not named in full.
        """
        if not _VERSION.fullmatch(self.dataset):
            raise DatasetError(
                f"row {row!r} names its dataset {self.dataset!r}, write it as "
                "builder/config:version"
            )
        try:
            self.source_sampling()
        except DatasetError as error:
            raise DatasetError(f"row {row!r}, {error}") from error
        self._check_share(row)
        if self.n_step > 1 and (self.reward_scale, self.reward_bias) != (1.0, 0.0):
            raise DatasetError(
                f"row {row!r} rescales sums of {self.n_step} rewards: leave out reward_scale and "
                "reward_bias, or n_step"
            )
        if self.reading == QLEARNING_DATASET and self.split != "all":
            raise DatasetError(
                f"row {row!r} reads the split {self.split!r} as D4RL reads a whole file: leave out "
                "its split or its reading"
            )
        if self.across_time_limits and self.n_step == 1:
            raise DatasetError(
                f"row {row!r} has transitions of one reward, which cross no time limit: give it an "
                "n_step, or leave out across_time_limits"
            )
        if self.reading == QLEARNING_DATASET and self.n_step > 1 and not self.across_time_limits:
            raise DatasetError(
                f"row {row!r} has several rewards in a transition, and D4RL's reading does not say "
                "where time limits were: set across_time_limits, or leave out its reading"
            )
        if self.kind == PUBLISHED and self._is_collected_again:
            raise DatasetError(
                f"row {row!r} calls {self.dataset} published, but it was collected again: write "
                f"{AGAIN!r} or {OWN!r} as its data"
            )

    def _check_share(self, row: str) -> None:
        if self.share == 1:
            if self.share_seed:
                raise DatasetError(
                    f"row {row!r} has a share_seed and trains on all of its data: give it a share, "
                    "or leave out share_seed"
                )
            return
        whole = {
            "sampling": self.sampling != UNIFORM,
            "reading": self.reading == QLEARNING_DATASET,
            "across_time_limits": self.across_time_limits,
            "reward_scale": self.reward_scale == RETURN_RANGE,
        }
        for name, is_of_whole in whole.items():
            if is_of_whole:
                raise DatasetError(
                    f"row {row!r} trains on a share of its data, and its {name} is for all of "
                    f"them: leave out {name} or share"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowLearning:
    """What learns from a row's data.

    Attributes:
      algorithm: the entry of `[[algorithms]]` that the row is of; "" in a recipe of one algorithm.
      learner, batch_size, steps: the recipe's where they are left out.
      config: fields of the learner's `Config`, added to those of the recipe.
      behavior: the algorithm whose full run, on the same data and seed, gives the behaviour policy
        that the learner starts from; "" where it needs none.
      teacher: the folder or file of a teacher below the teachers' folder, such as `Pong/1`; ""
        where there is none.
      online: how the run continues in the game after the data: fields of `OnlineOptions` that
        differ from the recipe's. None where it does not continue.
    """

    algorithm: str = ""
    learner: str = ""
    batch_size: Annotated[int, "[0, inf)"] = 0
    steps: Annotated[int, "[0, inf)"] = 0
    config: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    behavior: str = ""
    teacher: str = ""
    online: dict[str, Any] | None = dataclasses.field(default=None, hash=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowScoring:
    """How a row's policy is scored.

    Attributes:
      environment: where: gymnasium's name, or a game as DQN Replay spells it, such as `Pong`.
      policies: the learner's policies that are scored; the first is compared.
      in_another_environment: whether the row is meant to be scored in another environment than its
        data's, which is refused otherwise.
    """

    environment: Text
    policies: Annotated[tuple[Text, ...], "[1, inf)"] = ("act",)
    in_another_environment: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(RowScoring, RowLearning, RowData):
    """All that a recipe's file may say of a row, flat; a file is checked against these fields.

    Attributes:
      reported: the row of the reported table that this one stands beside, or its name.
      variant: what sets it apart from the other rows beside the same reported one.
      blocked: why it cannot be run; "" where it can.
    """

    reported: Text
    variant: str = ""
    blocked: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
      data, learning, scoring: its groups of options.
      reported, variant, blocked: as of `Options`.
    """

    data: RowData
    learning: RowLearning
    scoring: RowScoring
    reported: str
    variant: str
    blocked: str

    @classmethod
    def of(cls, reported: str, dataset: str, environment: str, **options: Any) -> Row:
        """The row of flat options, by the fields of `Options`.

        Raises:
          DatasetError: options do not go together.
        """
        flat = vars(Options(reported=reported, dataset=dataset, environment=environment, **options))
        return cls(
            _group(RowData, flat),
            _group(RowLearning, flat),
            _group(RowScoring, flat),
            reported,
            flat["variant"],
            flat["blocked"],
        )

    def __post_init__(self) -> None:
        self.data.check(self.reported)
        policies = self.scoring.policies
        if len({*policies}) < len(policies):
            raise DatasetError(
                f"row {self.reported!r} names a policy twice in {[*policies]}: leave out one"
            )

    @property
    def options(self) -> dict[str, Any]:
        """What `of` takes to make this row."""
        groups = {**vars(self.data), **vars(self.learning), **vars(self.scoring)}
        return groups | {
            "reported": self.reported,
            "variant": self.variant,
            "blocked": self.blocked,
        }

    def differing(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        """The options, of those in `plain`, that have other values than there."""
        options = self.options
        return {name: options[name] for name, value in plain.items() if options[name] != value}

    @property
    def name(self) -> str:
        """The row's name; no other row of a recipe has it."""
        return f"{self.reported}/{self.variant}" if self.variant else self.reported


Group = TypeVar("Group", RowData, RowLearning, RowScoring)


def _group(kind: type[Group], flat: Mapping[str, Any]) -> Group:
    return kind(**{field.name: flat[field.name] for field in dataclasses.fields(kind)})
