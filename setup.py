"""Package definition of rl-datasets."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "rl_datasets/_version.py").read_text())[1]

# The learners need these alone, on any Python that they support.
LEARNERS = ["numpy>=1.26", "jax>=0.4.34", "dm-haiku>=0.0.13", "optax>=0.2.5"]

# dm-reverb 0.14 has wheels for Linux and Python up to 3.11, and fixes TensorFlow 2.15, which in
# turn fixes NumPy, protobuf and, through ml-dtypes, JAX. Elsewhere only the learners install.
DATA_PLANE = [
    "jax==0.4.34",
    "jaxlib==0.4.34",
    "dm-haiku==0.0.13",
    "numpy<2",
    "dm-reverb==0.14.0",
    "tensorflow-cpu==2.15.1",
    "tensorflow-datasets==4.9.10",
    "tensorflow-metadata==1.15.0",  # Newer ones need a newer protobuf than TensorFlow takes.
    "importlib_resources",  # TFDS 4.9.10 imports it without declaring it.
    "dill",  # So does tfds.testing.
    "apache-beam[gcp]==2.72.0",  # The newest whose gcp extra fits TensorFlow 2.15.
    "rlds==0.1.8",
    "dm-env",
    "ale-py==0.12.1",
    "opencv-python-headless<4.12",  # What Dopamine scales frames with; newer ones need NumPy 2.
    "gymnasium[mujoco]==1.4.0",
    "mujoco>=3.3,<4",  # The bodies of rl_datasets/collection/bodies.py are exact on these.
    "h5py",
    "google-cloud-storage",
    "isal",
    "pillow",
    "typer",
    "rich",
    "matplotlib",
    "scipy",
    "markdown",
    "filelock>=4.2",  # Sees that a lock file was removed before it was locked.
    "threadpoolctl",
    "google-crc32c",
]
DATA_PLANE_PLATFORM = 'python_version < "3.12" and sys_platform == "linux"'

DEVELOPMENT = [
    "hypothesis",
    "mkdocs-material",
    "mkdocstrings[python]",
    "mypy",
    "pandas<3",  # rliable's import fails beside pandas 3.
    "pyarrow",  # Whose Snappy slimCQL's sampling is re-enacted with.
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "rliable==1.2.0",  # Whose aggregates this project's are held to.
    "ruff",
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
        "rl_datasets.collection": ["mixtures/*.toml", "partial_policies/*"],
        "rl_datasets.sources": ["*.toml"],
        "rl_datasets.replaying": ["*.md", "*.bib", "*.txt"],
        "builders": ["*/*.md", "*/*.bib", "*/*.txt"],
        "benchmarks": ["recipes/*.toml", "reported/**/*.toml", "reported/*.csv", "results/**/*"],
    },
    install_requires=LEARNERS + [f"{r}; {DATA_PLANE_PLATFORM}" for r in DATA_PLANE],
    extras_require={"dev": DEVELOPMENT},
    entry_points={"console_scripts": ["rl-datasets = rl_datasets.cli:main"]},
)
