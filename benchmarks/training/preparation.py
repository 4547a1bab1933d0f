"""Prepares runs, and refuses those that cannot be run before anything is trained.

`check` goes as far as a run can go without data. A dry run ends with it, and a run begins with it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.training import run_folder
from benchmarks.training.cells import Cell, seeds_of_rows
from benchmarks.training.tasks.atari import Atari
from benchmarks.training.tasks.choice import Task, task_of
from benchmarks.training.teacher import Teacher
from benchmarks.training.teaching import as_teacher, of_data, teacher_of, with_teacher
from learners import training, types
from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import REWARD

DEFAULT_TEACHERS_DIR = pathlib.Path(".teachers")
_SERVER_SECONDS = 60.0  # until a server has answered, and is full
_ADDRESS = r"([^\s:,]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}"
_ADDRESSES = re.compile(f"{_ADDRESS}(,{_ADDRESS})*")


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the runner reads and writes, and which feed it uses.

    Attributes:
      data_dir: the folder of published datasets, `builder/config/version/`.
      runs_dir: the folder of the runs' folders.
      teachers_dir: the folder below which the teachers are that rows name.
      feed: `arrays`, in memory; `stream`, from files that may be larger than memory; `reverb`, with
        a server for every run; or the `host:port` of a Reverb server that serves the row's dataset,
        or of all servers that hold parts of it, joined by commas.
        Runs with `arrays` and with `stream` can be repeated bit for bit.

    Raises:
      DatasetError: there is no such feed.
    """

    data_dir: str | os.PathLike[str]
    runs_dir: pathlib.Path
    feed: str = "arrays"
    teachers_dir: pathlib.Path = DEFAULT_TEACHERS_DIR

    def __post_init__(self) -> None:
        if self.feed not in ("arrays", "stream", "reverb") and not _ADDRESSES.fullmatch(self.feed):
            raise DatasetError(
                f"unknown feed {self.feed!r}, choose arrays, stream, reverb or the host:port of a "
                "server"
            )


def check(cells: Iterable[Cell], places: Places, seeds_at_once: int = 1) -> None:
    """Refuses cells that are not done and cannot be run.

    Raises:
      DatasetError: a dataset is missing or does not fit in memory; a policy cannot be scored; a
        learner cannot learn from the data; the folder of a run holds another run, cannot be
        continued or cannot be made; or the Reverb server does not serve the dataset.
    """
    files.check_can_write(places.runs_dir)
    tasks = tasks_of(cells, places, seeds_at_once)
    schema = _served(places.feed) if tasks else None
    traced = set()
    for of_row in seeds_of_rows(tasks):
        cell, task = of_row[0], tasks[of_row[0]]
        spec = task.shapes()
        teacher = teacher_of(cell, task, places.teachers_dir)
        _check_online(cell, task, spec, teacher, places)
        learner = learner_of(cell, spec, teacher)
        task = task.read_by(cell.recipe.learner, of_data(cell.extras()))
        check_feed(cell, task, places.feed)
        if schema is not None:
            check_served(places.feed, schema, task)
        if (kind := _kind(cell, spec)) not in traced:
            _trace(cell, learner, task, spec)
            traced.add(kind)
        for cell in of_row:
            folder = cell.folder(places.runs_dir)
            run_folder.check_same(folder, identity(cell, task, places))
            run_folder.results_to_keep(folder, cell.evaluations)


def tasks_of(cells: Iterable[Cell], places: Places, seeds_at_once: int = 1) -> dict[Cell, Task]:
    """The task of each cell that is not done.

    Raises:
      DatasetError: as `task_of`; or several seeds of a game would be trained at once, on a CPU or
        while each plays.
    """
    tasks: dict[Cell, Task] = {}
    for of_row in seeds_of_rows(cell for cell in cells if not cell.is_done(places.runs_dir)):
        task = task_of(of_row[0].recipe, of_row[0].row, places.data_dir)
        tasks |= dict.fromkeys(of_row, task)
    if seeds_at_once > 1:
        for cell, task in tasks.items():
            if cell.online is not None:
                raise DatasetError(
                    f"each seed of row {cell.row.name!r} plays games of its own: leave out "
                    "--seeds-at-once"
                )
            if isinstance(task, Atari) and jax.default_backend() == "cpu":
                raise DatasetError(
                    f"seeds of {cell.row.scoring.environment} are trained in one call on an "
                    "accelerator alone, where it pays: leave out --seeds-at-once"
                )
    return tasks


def learner_of(cell: Cell, spec: Any, teacher: Teacher | None = None) -> types.Learner:
    """The learner, with the settings of the cell's row, and its teacher if the row has one."""
    learner = cell.recipe.entry().make(cell.learner_config(), spec)
    if cell.row.data.normalize_observations:
        learner = training.on_normalized_observations(learner, spec)
    return with_teacher(learner, cell.extras(), teacher)


def check_feed(cell: Cell, task: Task, feed: str) -> None:
    """Refuses a feed that cannot give what the cell reads, or data too large for it."""
    if feed == "arrays" and cell.offline_ends:
        task.check_memory()
    if feed != "arrays":
        _ = task.cut  # refuses a reading that only the feed `arrays` has
        if task.sampling is not None:
            raise DatasetError(
                f"row {task.row.name!r} draws its batches as {task.row.data.sampling} does, which "
                "the feed arrays alone gives: use that feed"
            )
        if feed != "stream" and task.row.data.share < 1:
            raise DatasetError(
                f"row {task.row.name!r} trains on a share of its data, and a Reverb server serves "
                "all of them: use the feed arrays or stream"
            )
    if feed == "stream" and task.extras:
        raise DatasetError(
            f"the feed stream does not give the {' and '.join(task.extras)} that learner "
            f"{cell.recipe.learner} reads: use arrays or reverb"
        )


def _served(feed: str) -> Any:
    """The schema of the server that a feed names; None if it names no server."""
    if not _ADDRESSES.fullmatch(feed):
        return None
    from rl_datasets.serving.reverb import schemas_of

    return schemas_of(feed.split(","), _SERVER_SECONDS)[0]


def check_served(address: str, schema: Any, task: Task) -> None:
    """Refuses a server of another dataset than the task's, or one that cuts it differently."""
    version, split, cut = task.version, task.row.data.split, task.cut
    if schema.fingerprint != version.fingerprint:
        raise DatasetError(
            f"the Reverb server at {address} serves another dataset than {version.location} (its "
            "fingerprint differs): serve that one"
        )
    if (schema.splits, schema.cut) != (tuple(sorted(version.split_names(split))), cut):
        options = f"--split {split} --frame-stack {cut.frame_stack}"
        options += f" --n-step {cut.n_step} --gamma {cut.gamma}"
        if cut.next_action:
            options += " --next-action"
        if cut.reward_field != REWARD:
            options += f" --reward-field {cut.reward_field}"
        raise DatasetError(
            f"the Reverb server at {address} cuts {version.location} otherwise than the row: start "
            f"it with {options}"
        )


def identity(cell: Cell, task: Task, places: Places) -> dict[str, Any]:
    """What identifies a run; a folder is never continued as another run."""
    recipe, row = cell.recipe, cell.row
    return {
        "table": recipe.table,
        "row": row.name,
        "dataset": row.data.dataset,
        "fingerprint": task.version.fingerprint,
        "environment": row.scoring.environment,
        "learner": recipe.learner,
        "config": dataclasses.asdict(cell.learner_config()),
        "batch_size": recipe.batch_size,
        "feed": places.feed if places.feed in ("arrays", "stream") else "reverb",
        "seed": cell.seed,
        "budget": cell.budget,
        "steps": cell.steps,
        "evaluate_every": recipe.evaluate_every,
        "episodes": recipe.episodes,
        **row.differing({"policies": ("act",)}),
        **task.identity,
        **_identity_online(cell, task, places),
    }


def _identity_online(cell: Cell, task: Task, places: Places) -> dict[str, Any]:
    """What the run is besides, if it has a teacher or continues in its game."""
    teacher, options = teacher_of(cell, task, places.teachers_dir), cell.online
    of_teacher = {} if teacher is None else {"teacher": dict(teacher.facts)}
    return of_teacher | ({} if options is None else {"online": dataclasses.asdict(options)})


def _check_online(
    cell: Cell, task: Task, spec: Any, teacher: Teacher | None, places: Places
) -> None:
    """Refuses an online phase that could not follow the offline one."""
    online, options = cell.online_cell, cell.online
    if online is None or options is None:
        return
    if not isinstance(task, Atari):
        raise DatasetError(
            f"row {cell.row.name!r} continues online, and {cell.row.scoring.environment} is no "
            "game: leave out its online"
        )
    task = task_of(online.recipe, online.row, places.data_dir)
    learner = learner_of(online, spec, teacher)
    _trace(online, learner, task, spec)
    if options.keeps_optimizer and not options.skips_offline:
        before, after = (
            jax.eval_shape(of.init, jax.random.PRNGKey(0))
            for of in (learner_of(cell, spec, teacher), learner)
        )
        if jax.tree.structure(before) != jax.tree.structure(after) or not all(
            x.shape == y.shape for x, y in zip(*map(jax.tree.leaves, (before, after)), strict=True)
        ):
            raise DatasetError(
                f"row {cell.row.name!r} carries over the state of {cell.recipe.learner}, which "
                f"{online.recipe.learner} cannot continue from: set keeps_optimizer = false in its "
                "online, or name learners of the same network and optimiser"
            )


def initial(
    cell: Cell,
    learner: types.Learner,
    key: jax.Array,
    cloned: types.TrainingState | None,
    teacher: Teacher | None = None,
) -> types.TrainingState:
    """The state at step 0, with what another run cloned or a teacher learned if the row says so."""
    state = learner.init(key)
    if teacher is not None and cell.online is not None and cell.online.starts_as_teacher:
        return as_teacher(cell, state, teacher)
    if cloned is None:
        return state
    with_behavior = cell.recipe.entry().with_behavior
    if with_behavior is None or not hasattr(cloned.params, "policy"):
        raise DatasetError(
            f"row {cell.row.name!r} starts from the policy of {cell.row.learning.behavior!r}, and "
            f"{cell.recipe.learner} takes none, or there is none: leave out its behavior"
        )
    return with_behavior(state, cloned.params.policy)


def _kind(cell: Cell, spec: Any) -> str:
    """All that determines the shapes of an update; cells that share it need one check."""
    sizes = [getattr(spec, name, None) for name in ("observation_size", "action_size")]
    cloner = cell.behavior and (cell.behavior.recipe.learner, cell.behavior.learner_config())
    shared = (cell.recipe.learner, cell.recipe.batch_size, cell.row.scoring.policies)
    return repr((shared, cell.learner_config(), cell.recipe.evaluate_every, sizes, cloner))


def _trace(cell: Cell, learner: types.Learner, task: Task, spec: Any) -> None:
    """Traces one update and one call of each policy, which computes shapes alone."""
    steps = task.steps_in_a_call(cell.recipe.evaluate_every)

    def call(key: jax.Array, batches: Any) -> Any:
        cloned = None
        if cell.behavior is not None:
            cloned = learner_of(cell.behavior, spec).init(key)
        state, metrics = learner.update(initial(cell, learner, key, cloned), batches)
        policies = [learner.policies[name] for name in cell.row.scoring.policies]
        return [policy(state, batches.observation[0]) for policy in policies], metrics

    try:
        batches = task.batches(spec, (steps, cell.recipe.batch_size))
        jax.eval_shape(call, jnp.zeros(2, jnp.uint32), batches)
    except ValueError as error:
        raise DatasetError(
            f"row {cell.row.name!r} cannot be trained by {cell.recipe.learner}, correct it: {error}"
        ) from error
