"""The builders, one folder each. `import builders` registers all of them with TFDS.

So `tfds.builder("brac/halfcheetah-eps1-recollected", data_dir=...)` finds its class, and
`tfds.list_builders()` has its name. Neither TensorFlow nor Beam is imported.
"""

from builders.brac.brac_dataset_builder import Builder as Brac
from builders.custom.custom_dataset_builder import Builder as Custom
from builders.d4rl.d4rl_dataset_builder import Builder as D4rl
from builders.dqn_replay.dqn_replay_dataset_builder import Builder as DqnReplay
from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import (
    Builder as RlUnpluggedAtari,
)
from builders.rl_unplugged_control_suite.rl_unplugged_control_suite_dataset_builder import (
    Builder as RlUnpluggedControlSuite,
)
from builders.rl_unplugged_dmlab.rl_unplugged_dmlab_dataset_builder import (
    Builder as RlUnpluggedDmlab,
)
from builders.rl_unplugged_locomotion.rl_unplugged_locomotion_dataset_builder import (
    Builder as RlUnpluggedLocomotion,
)
from builders.rl_unplugged_rwrl.rl_unplugged_rwrl_dataset_builder import Builder as RlUnpluggedRwrl

__all__ = [
    "Brac",
    "Custom",
    "D4rl",
    "DqnReplay",
    "RlUnpluggedAtari",
    "RlUnpluggedControlSuite",
    "RlUnpluggedDmlab",
    "RlUnpluggedLocomotion",
    "RlUnpluggedRwrl",
]
