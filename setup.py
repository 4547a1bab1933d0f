"""Package definition of rl-datasets."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "rl_datasets/_version.py").read_text())[1]

# Reads any version, on any Python. Every other job has an extra.
BASE = [
    "numpy>=1.26",
    "dm-env>=1.6",
    "filelock>=4.2",  # Sees that a lock file was removed before it was locked.
    "google-crc32c",
    "isal",
    "pillow",
    "rich",
    "typer<0.28",  # Newer ones bring pydantic, which nothing here needs.
]
EXTRAS = {
    "train": [
        "jax>=0.4.34",
        "dm-haiku>=0.0.13",
        "optax>=0.2.5",
        "markdown",
        "matplotlib",
        "scipy",
        "tensorboardX",
    ],
    "publish": [
        "apache-beam>=2.72",
        "google-cloud-storage<3",  # Newer ones ask for the bucket too, which may be closed.
        "h5py",
        "importlib_resources",  # TFDS 4.9.10 imports it without declaring it.
        "tensorflow-datasets>=4.9.10",
    ],
    "collect": [
        "ale-py>=0.12.1",
        "gymnasium[mujoco]>=1.4,<2",
        "h5py",
        "mujoco>=3.3,<4",  # The bodies of rl_datasets/collection/bodies.py are exact on these.
        "opencv-python-headless",  # What Dopamine scales frames with.
        "threadpoolctl",
    ],
    "parquet": ["pyarrow>=15"],
    "stores": ["boto3>=1.36", "google-cloud-storage<3"],
    # Wheels of dm-reverb 0.14 are for Linux and Python up to 3.11. It needs TensorFlow 2.15, which
    # fixes NumPy, protobuf and, through ml-dtypes, JAX.
    "reverb": [
        "dm-haiku<0.0.14",  # Newer ones need a newer JAX.
        "dm-reverb>=0.14",
        "tensorflow-cpu>=2.15,<2.16",
        "tensorflow-metadata<1.16",  # Newer ones need a newer protobuf than TensorFlow takes.
    ],
    "brac-checkpoints": ["tensorflow-cpu>=2.15"],
}
OF_ALL = ["train", "publish", "collect", "parquet", "stores", "brac-checkpoints"]
FOR_REVERB = 'python_version < "3.12" and sys_platform == "linux"'
EXTRAS["all"] = [r for extra in OF_ALL for r in EXTRAS[extra]] + [
    f"{r}; {FOR_REVERB}" for r in EXTRAS["reverb"]
]

DEVELOPMENT = [
    # What reads exports in the tests; two of them do not fit beside TensorFlow 2.15.
    'datasets>=4; python_version >= "3.12"',
    "dill",  # TFDS 4.9.10's `testing` imports it without declaring it.
    "hypothesis",
    "mkdocs-material",
    "mkdocstrings[python]",
    'minari[hdf5]>=0.5.4; python_version >= "3.12"',
    "flask-cors",  # What moto's server needs.
    "moto[s3]>=5",
    "mlcroissant>=1.1.1",
    "mypy",
    "pyarrow",  # Whose Snappy slimCQL's sampling is re-enacted with.
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    f"rlds>=0.1.8; {FOR_REVERB}",  # It imports Reverb.
    "pyyaml",
    "ruff",
    "setuptools>=77",  # Builds the wheel of the tests.
    "tensorboard",
]

setuptools.setup(
    name="rl-datasets",
    version=VERSION,
    description="Logged reinforcement-learning data as versioned datasets, with proof.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(
        include=[
            p + g for p in ("rl_datasets", "builders", "learners", "benchmarks") for g in ("", ".*")
        ]
    ),
    package_data={
        "rl_datasets": ["py.typed"],
        "rl_datasets.collection": ["mixtures/*.toml", "partial_policies/*"],
        "rl_datasets.sources": ["*.toml"],
        "rl_datasets.replaying": ["*.md", "*.bib", "*.txt"],
        "builders": ["py.typed", "*/*.md", "*/*.bib", "*/*.txt"],
        "learners": ["py.typed"],
        "benchmarks": [
            "py.typed",
            "recipes/*.toml",
            "reported/**/*.toml",
            "reported/*.csv",
            "results/**/*",
        ],
    },
    # Megabytes, which only the commands of a clone read.
    exclude_package_data={"benchmarks": ["results/trained_agents/*.npz"]},
    install_requires=BASE,
    extras_require={**EXTRAS, "dev": DEVELOPMENT},
    entry_points={"console_scripts": ["rl-datasets = rl_datasets.cli:main"]},
)
