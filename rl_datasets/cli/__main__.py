"""`python -m rl_datasets.cli` is `rl-datasets`."""

from rl_datasets.cli import main

main()
