"""`python -m benchmarks.partial_policies`: measures the shipped policies' returns in both bodies.

The policies were trained in v4 and collect in v2 (docs/bodies.md). So the `.json` beside each
policy has its returns in both: `returns`, the mean and the standard error of the mode over 100
episodes. The same policies and seeds give the same numbers.
"""

from __future__ import annotations

import json

import numpy as np
import typer

from benchmarks.training import evaluation
from rl_datasets import files
from rl_datasets.collection import bodies, environments, policies

EPISODES, SEED = 100, 0
VERSIONS = ("v2", "v4")


def act_by_mode(source: policies.PolicySource, environment: str) -> evaluation.Act:
    """observation [B, obs] -> the mode of the policy, [B, act]."""
    made = environments.make_environment(environment)
    (size,), action = made.observation_spec().shape, made.action_spec()
    made.close()
    layers = source.for_observations(environment, size).layers
    policy = policies.TanhGaussian(layers, action.minimum, action.maximum, mode=True)
    rng = np.random.default_rng(0)  # The mode draws nothing.
    return lambda observation: policy(rng, observation)


def measure(
    source: policies.PolicySource, environment: str, episodes: int = EPISODES, seed: int = SEED
) -> dict[str, float]:
    """Mean and standard error of the mode's returns over whole episodes."""
    act = act_by_mode(source, environment)
    returns = evaluation.evaluate(environment, act, episodes, seed)
    return {
        "episodes": episodes,
        "seed": seed,
        "mean": float(returns.mean()),
        "standard_error": float(returns.std(ddof=1) / np.sqrt(episodes)),
    }


def main() -> None:
    """Measures every shipped policy and updates its lineage."""
    for task in sorted(name.rpartition("-")[0] for name in bodies.ENVIRONMENTS):
        path = policies.partial_policy_path(f"{task}-v2")
        source = policies.load_policy(path)
        lineage = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        lineage["returns"] = {
            f"{task}-{version}": measure(source, f"{task}-{version}") for version in VERSIONS
        }
        text = json.dumps(lineage, indent=2, sort_keys=True) + "\n"
        files.write(path.with_suffix(".json"), text)
        for environment, measured in lineage["returns"].items():
            mean, error = measured["mean"], measured["standard_error"]
            typer.echo(f"{environment}: {mean:,.0f} ± {error:,.0f}")


if __name__ == "__main__":
    typer.run(main)
