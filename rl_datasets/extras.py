"""The packages that not every install has, by the extra of this project that brings each."""

from __future__ import annotations

import importlib.util

OF_PACKAGE = {
    "ale_py": "collect",
    "apache_beam": "publish",
    "array_record": "publish",
    "boto3": "stores",
    "botocore": "stores",
    "cv2": "collect",
    "google": "publish",
    "grpc": "publish",
    "gymnasium": "collect",
    "h5py": "publish",
    "haiku": "train",
    "jax": "train",
    "markdown": "train",
    "matplotlib": "train",
    "mujoco": "collect",
    "optax": "train",
    "pyarrow": "parquet",
    "requests": "publish",
    "reverb": "reverb",
    "scipy": "train",
    "tensorboardX": "train",
    "tensorflow": "brac-checkpoints",
    "tensorflow_datasets": "publish",
    "threadpoolctl": "collect",
    "urllib3": "publish",
}
LIMITS = {"reverb": ", on Linux with Python 3.11, because Reverb has no wheels for a newer one"}


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not imported."""
    return importlib.util.find_spec(package) is not None


def what_brings(error: ModuleNotFoundError) -> str | None:
    """The sentence that says how to install what is missing; None if no extra brings it."""
    package = (error.name or "").partition(".")[0]
    if package not in OF_PACKAGE:
        return None
    extra = OF_PACKAGE[package]
    return (
        f"this needs {package}, which is not installed: pip install 'rl-datasets[{extra}]'"
        f"{LIMITS.get(extra, '')}"
    )
