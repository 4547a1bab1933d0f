"""The commands that make a row's dataset, where its name says them."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from rl_datasets.collection import mixtures, naming
from rl_datasets.files import DEFAULT_DATA_DIR
from rl_datasets.sources.d4rl_tasks import tasks

if TYPE_CHECKING:
    from benchmarks.training.row import Row

_FILES = {  # that a user has, by what the name says: whose policy, or else which mixture
    "-brac": " --policy BRAC_CHECKPOINT",
    "medium-v2": " --policy D4RL_FILE",
}
_SOURCES = {  # of the logged runs of games
    "dqn_replay": "DQN_REPLAY_FOLDER",
    "rl_unplugged_atari": "gs://rl_unplugged",
}
_MIXTURES = [name for name in mixtures.shipped() if name != "expert-v2"]  # no policy is to be had
_COLLECTED = re.compile(
    rf"(?P<environment>.+?)-(?P<mixture>{'|'.join(map(re.escape, _MIXTURES))})-recollected"
    r"(?P<whose>-brac)?(-n(?P<transitions>\d+))?(-seed(?P<seed>\d+))?"
)


def commands(row: Row, data_dir: str | os.PathLike[str] = DEFAULT_DATA_DIR) -> list[str]:
    """What to type for the dataset of a row; nothing where its name does not say how it was made.

    An argument in capitals is a file that the user has.

    Args:
      row: of a recipe.
      data_dir: where the dataset is to be published.
    """
    name, _, version = row.data.dataset.partition(":")
    builder, _, config = name.partition("/")
    options = f"--version {version}"
    if os.fspath(data_dir) != DEFAULT_DATA_DIR:
        options += f" --data-dir {shlex.quote(os.fspath(data_dir))}"
    if builder == "d4rl" and config in tasks():
        return [f"rl-datasets publish {name} {tasks()[config].url} {options}"]
    if builder in _SOURCES and "-" not in config:
        return [f"rl-datasets publish {name} {_SOURCES[builder]} {options}"]
    of = _COLLECTED.fullmatch(config)
    if of is None or row.scoring.in_another_environment:
        return []
    if builder != mixtures.load_mixture(of["mixture"]).protocol:
        return []
    folder = f"collected/{config}"
    collect = f"rl-datasets collect {row.scoring.environment} {of['mixture']} {folder}"
    collect += _FILES.get(of["whose"] or of["mixture"], "")
    for option in ("transitions", "seed"):
        if of[option]:
            collect += f" --{option} {of[option]}"
    task, whose = row.scoring.environment.rpartition("-")[0], of["whose"] or ""
    is_known = whose != f"-{naming.BRAC}" or (naming.BRAC, task) in naming.OWNERS.values()
    if of["environment"] != naming.environment_name(row.scoring.environment) or not is_known:
        collect += f" --name {config}"
    return [collect, f"rl-datasets publish {builder} {folder} {options}"]
