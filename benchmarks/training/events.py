"""The evaluations of a run as TensorBoard's events."""

from __future__ import annotations

import contextlib
import pathlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rl_datasets.errors import DatasetError

with warnings.catch_warnings():  # It loads Google's clients where they are, which warn of Python.
    warnings.simplefilter("ignore", FutureWarning)
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary


class Events:
    """The events of a run, written again from its lines, so that no point is lost or doubled.

    They are written in this thread, not in that of tensorboardX's `SummaryWriter`, which loses its
    errors.

    Args:
      folder: the run's folder; events that it holds are replaced.
      results: the run's lines so far.

    Raises:
      DatasetError: the events cannot be written.
    """

    def __init__(self, folder: pathlib.Path, results: Sequence[Mapping[str, Any]]):
        self._folder = folder
        for events in folder.glob("events.*"):
            events.unlink()
        with self._naming_the_folder():
            self._writer = EventsWriter(str(folder / "events"))
        for result in results:
            self.write(result)

    def write(self, result: Mapping[str, Any]) -> None:
        """Writes the event of a line of results.

        Raises:
          DatasetError: it cannot be written.
        """
        values = {"evaluation/return": np.mean(result["returns"])}
        for policy, returns in result.get("returns_of", {}).items():
            values[f"evaluation/return of {policy}"] = np.mean(returns)
        for name, value in result["metrics"].items():
            values[f"train/{name}"] = value
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        with self._naming_the_folder():
            self._writer.write_event(
                Event(wall_time=time.time(), step=result["step"], summary=Summary(value=points))
            )
            self._writer.flush()

    @contextlib.contextmanager
    def _naming_the_folder(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DatasetError(
                f"the events for TensorBoard could not be written to {self._folder}: "
                f"{error.strerror or error}; fix that and run the same command again, which "
                "continues from the last evaluation"
            ) from error
