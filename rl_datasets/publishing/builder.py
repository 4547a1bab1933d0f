"""The base class of all builders here: a TFDS builder whose data are published, not generated."""

from __future__ import annotations

import abc
import functools
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from rl_datasets import files
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.features import features_dict
from rl_datasets.published.file_formats import FILE_FORMATS, TFRECORD
from rl_datasets.published.version import Version
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources.collected import RECOLLECTED
from rl_datasets.stores.store import is_address, open_store
from rl_datasets.transition import TransitionSpec


def _of_unlisted(config: str) -> str:
    if RECOLLECTED in config:
        return "Collected again; the manifest says in which environment and by which policies."
    return "A user's own dataset."


class PublishedDatasetBuilder(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """The base class; a builder defines `episode_spec`, `source_units` and `lineage`.

    A builder whose sources say which configuration they are also defines `config_of`.

    Reading needs only the published folder. Publishing also needs a source: call
    `publish(builder)`, or TFDS's own `builder.download_and_prepare()`.
    """

    def __init__(
        self,
        *,
        source: str | None = None,
        config: Any = None,
        file_format: str = TFRECORD,
        staged: bool = False,
        **kwargs: Any,
    ):
        """Makes a builder; if `source` is None, only for reading.

        Args:
          source: what to publish, such as the folder of a collection.
          config: a configuration's name, either listed or the user's own.
          file_format: what the shards are published as, one of `FILE_FORMATS`.
          staged: whether to complete a publication that was begun, instead of naming a source.
          **kwargs: TFDS's own: `data_dir`, which may be a store's address; `version`, any of the
            form 2.0.1.

        Raises:
          DatasetError: the configuration's name cannot be a folder's, there is no such file format,
            the source would be published under a version number of an older layout, or there is
            nothing published and no source.
        """
        if file_format not in FILE_FORMATS:
            raise DatasetError(
                f"there is no file format {file_format!r}: choose one of {', '.join(FILE_FORMATS)}"
            )
        self.source, self.file_format, self._staged = source, file_format, staged
        self._address = None
        data_dir = kwargs.get("data_dir")
        if data_dir is not None and is_address(data_dir) and (staged or source is not None):
            # TFDS itself would look into the store, which takes TensorFlow, and minutes.
            self._address = open_store(os.fspath(data_dir)).url
            kwargs["data_dir"] = os.path.join(tempfile.gettempdir(), "rl-datasets")
        if isinstance(config, str):
            files.check_folder_name(config)
        if isinstance(config, str) and config not in self.builder_configs:
            config = tfds.core.BuilderConfig(name=config, description=_of_unlisted(config))
        super().__init__(config=config, **kwargs)

    @property
    def target(self) -> str:
        """The folder of the version, or its address."""
        if self._address is None:
            return os.path.abspath(self.data_dir)
        return f"{self._address}/{os.path.relpath(self.data_dir, self._data_dir_root)}"

    def _pick_version(self, requested_version: Any) -> tfds.core.Version:
        """The requested version; TFDS itself accepts only those that the code lists."""
        if requested_version is None or str(requested_version) == "experimental_latest":
            return super()._pick_version(requested_version)
        try:
            version = tfds.core.Version(str(requested_version))
        except ValueError as error:
            raise DatasetError(
                f"{requested_version} is not a version of a dataset: write it as 2.0.1"
            ) from error
        if self.source is not None and version.major < self.VERSION.major:
            raise DatasetError(
                f"{self.name} cannot be published as version {version}, because its layout is that "
                f"of version {self.VERSION}: give a version from {self.VERSION.major}.0.0 on"
            )
        return version

    @classmethod
    def config_of(cls, source: str) -> str:
        """The name of the configuration that a source says it is.

        Args:
          source: as in `__init__`.

        Raises:
          DatasetError: the source does not say; this is so unless a builder overrides this method.
        """
        example = next(iter(cls.builder_configs), "mine")
        raise DatasetError(
            f"{source} does not say which configuration it is: name the one to publish, such as "
            f"{cls.name}/{example}"
        )

    @abc.abstractmethod
    def episode_spec(self) -> EpisodeSpec | TransitionSpec:
        """The spec of the source's episodes, or of its transitions if these are the records."""

    @abc.abstractmethod
    def source_units(self) -> Sequence[SourceUnit]:
        """The units of the source, in the order of their shards."""

    @abc.abstractmethod
    def lineage(self) -> Mapping[str, Any]:
        """The origin of the data, as plain data for the manifest.

        Every lineage has `source`, and `repaired`, a list of sentences. The facts of
        `rl_datasets.published.lineage.Lineage` are read again: `environment`, or `game` and
        `rom_set`, determine where a policy is scored.
        """

    def reread_source(self) -> None:
        """Clears the cached properties in which a subclass keeps what it read of its source."""
        classes = type(self).__mro__
        for cls in classes[: classes.index(PublishedDatasetBuilder)]:
            for name, value in vars(cls).items():
                if isinstance(value, functools.cached_property):
                    self.__dict__.pop(name, None)

    def _info(self) -> tfds.core.DatasetInfo:
        info = self.dataset_info_from_configs(features=features_dict(self._spec()))
        # TFDS would search a bucket of its own, and leave an empty folder in /tmp each time.
        info.initialize_from_bucket = lambda: None
        return info

    def _spec(self) -> EpisodeSpec | TransitionSpec:
        if self._staged:
            from rl_datasets.publishing import stages

            return manifest.spec_from_json(stages.staged_plan(self.target)["spec"])
        if self.source is not None and self._address is not None:
            return self.episode_spec()
        if self.source is None and is_address(self.data_dir):
            return Version.open(self.data_dir).spec
        folder = pathlib.Path(self.data_dir)
        if (folder / manifest.FILE_NAME).exists():
            return Version.open(folder).spec
        if self.source is None:
            raise DatasetError(
                f"{folder} is not published; publish it with `rl-datasets publish`, or give the "
                "data_dir that has it"
            )
        return self.episode_spec()

    def download_and_prepare(self, **kwargs: Any) -> None:
        """Publishes the source, if one was given and the version does not exist yet.

        Raises:
          DatasetError: the version does not exist and no source was given, or the source cannot be
            published.
        """
        if self.source is not None:
            from rl_datasets.publishing.publish import publish  # Beam, which readers do not need.

            publish(self)

    def _split_generators(self, dl_manager: Any) -> Any:
        raise NotImplementedError("publishing writes the shards")

    def _generate_examples(self) -> Any:
        raise NotImplementedError("publishing writes the shards")
