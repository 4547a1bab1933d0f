"""Writes `brac_bc.toml` and its curves, and `brac.toml`, from BRAC's authors' `results.csv` files.

The files are those of google-research's `behavior_regularized_offline_rl`, at the commit that
`brac_bc.toml` names. They are of behaviour cloning, one algorithm of the paper's grid; the others
stand in `brac.toml` without values.

    python -m benchmarks.reported.brac_bc <folder that holds HalfCheetah-v2>
"""

from __future__ import annotations

import csv
import pathlib
import sys

from rl_datasets.errors import DatasetError

FOLDER = pathlib.Path(__file__).parent
ENVIRONMENTS = ("HalfCheetah-v2", "Hopper-v2")
DATASETS = ("pure", "eps1", "eps3", "gaussian1", "gaussian3")
SEEDS = range(5)
EVALUATIONS = 100

HEAD = '''\
# Made by benchmarks/reported/brac_bc.py from the authors' own files; edit that instead.

title = "BRAC behaviour cloning"
paper = """
Wu, Tucker and Nachum 2019, Behavior Regularized Offline Reinforcement Learning, arXiv:1911.11361"""
source = """
results.csv of the authors' own runs, github.com/google-research/google-research commit 9a46e688,
behavior_regularized_offline_rl, <environment>/<dataset>/n1000000/bc/0/<seed>"""
license = "Apache-2.0"
metric = "undiscounted return of the policy's mode, mean of 20 episodes"
statistic = "last_10"
spread = "population standard deviation over seeds"
exact = true # the authors' files, which keep four significant digits; not read off a figure
curves = "brac_bc_curves.csv"
defects = [
  "the seed option of the authors' code names the output folder and seeds nothing",
  "runs that were restored did not restore their optimisers",
  "the paper's own tables are not part of these files, and may average over another window",
  "the authors' data mark neither episodes nor time limits, nor which policy acted",
]

[protocol]
environments = "HalfCheetah-v2 and Hopper-v2 of gym, on MuJoCo 2"
policy = "mode"
episodes = 20
evaluate_every = 5_000
steps = 500_000
batch_size = 256
transitions = 1_000_000
seeds = 5

[scaled_as] # the bodies are the same
"HalfCheetah-v2/*" = "halfcheetah-medium-v2"
"Hopper-v2/*" = "hopper-medium-v2"

# A value for each seed: the mean of the last ten evaluations, and the last one.
'''

GRID_ENVIRONMENTS = ("Ant-v2", "HalfCheetah-v2", "Hopper-v2", "Walker2d-v2")
GRID_ALGORITHMS = (
    "SAC",
    "BC",
    "BCQ",
    "BEAR",
    "MMD_vp",
    "KL_vp",
    "KL_dual_vp",
    "W_vp",
    "MMD_pr",
    "KL_pr",
    "KL_dual_pr",
    "W_pr",
)
GRID_HEAD = '''\
# Made by benchmarks/reported/brac_bc.py from the authors' own files; edit that instead.
# vp: value penalty; pr: policy regularisation; dual: divergence by a discriminator.

title = "BRAC, the paper's grid"
paper = """
Wu, Tucker and Nachum 2019, Behavior Regularized Offline Reinforcement Learning, arXiv:1911.11361"""
source = """
of BC, results.csv of the authors' own runs, as in brac_bc.toml; of all else, none that could be
verified"""
license = "Apache-2.0"
metric = "undiscounted return, mean of 20 episodes"
statistic = "last_10"
spread = "population standard deviation over seeds"
exact = true # of BC; all else is left open
unreported = "not verified"
defects = [
  "the seed option of the authors' code names the output folder and seeds nothing",
]
unreported_datasets = [
{datasets}]

[protocol]
environments = "Ant-v2, HalfCheetah-v2, Hopper-v2 and Walker2d-v2 of gym, on MuJoCo 2"
episodes = 20
evaluate_every = 5_000
steps = 500_000
batch_size = 256
transitions = 1_000_000
seeds = 5

[scaled_as] # the bodies are the same
"Ant-v2/*" = "ant-medium-v2"
"HalfCheetah-v2/*" = "halfcheetah-medium-v2"
"Hopper-v2/*" = "hopper-medium-v2"
"Walker2d-v2/*" = "walker2d-medium-v2"
'''


def read_curve(path: pathlib.Path) -> tuple[list[int], list[float]]:
    """The steps and mean returns of one run.

    Raises:
      DatasetError: the file is missing, or does not hold 100 rows of a step and a return.
    """
    try:
        with path.open(encoding="utf-8") as file:
            rows = [(int(float(step)), float(value)) for step, value in csv.reader(file)]
    except FileNotFoundError as error:
        raise DatasetError(f"no {path}, name the folder that holds HalfCheetah-v2") from error
    except ValueError as error:
        raise DatasetError(f"{path} has a row that is not step,return: {error}") from error
    if len(rows) != EVALUATIONS:
        raise DatasetError(f"{path} has {len(rows)} rows instead of 100, restore it")
    return [step for step, _ in rows], [value for _, value in rows]


def write(source: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes the three files into `folder`."""
    curves: dict[str, list[float]] = {}
    last_10, last = [], []
    for environment in ENVIRONMENTS:
        for dataset in DATASETS:
            row = f"{environment}/{dataset}"
            for seed in SEEDS:
                path = source / row / "n1000000/bc/0" / str(seed) / "results.csv"
                steps, curves[f"{row}/{seed}"] = read_curve(path)
            runs = [curves[f"{row}/{seed}"] for seed in SEEDS]
            last_10.append(f'"{row}" = {[round(sum(run[-10:]) / 10, 3) for run in runs]}\n')
            last.append(f'"{row}" = {[run[-1] for run in runs]}\n')
    columns = ["\n[algorithms.BC.last_10]\n", *last_10, "\n[algorithms.BC.last]\n", *last]
    (folder / "brac_bc.toml").write_text(HEAD + "".join(columns), encoding="utf-8")
    datasets = [f'  "{e}/{dataset}",\n' for e in GRID_ENVIRONMENTS for dataset in DATASETS]
    grid = [GRID_HEAD.replace("{datasets}", "".join(datasets))]
    for algorithm in GRID_ALGORITHMS:
        grid += columns if algorithm == "BC" else [f"\n[algorithms.{algorithm}]\n"]
    (folder / "brac.toml").write_text("".join(grid), encoding="utf-8")
    with (folder / "brac_bc_curves.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *curves])
        lines = zip(*curves.values(), strict=True)
        writer.writerows(
            [step, *(f"{value:g}" for value in values)]
            for step, values in zip(steps, lines, strict=True)
        )


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), FOLDER)
