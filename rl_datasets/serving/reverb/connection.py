"""What a Reverb server serves, and waiting for a server: at the start, and when it was lost."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import reverb

from rl_datasets.errors import DatasetError
from rl_datasets.serving.part import Part
from rl_datasets.serving.reverb.schema import CHATTER, SCHEMA, TRANSITIONS, Schema
from rl_datasets.terminal import holding_back

ANSWER_SECONDS = 5.0  # A server that takes longer to answer, or to be full, is lost.


class NotServingError(DatasetError):
    """A server does not answer, or does not hold everything yet."""


def wait_until_full(address: str, timeout: float) -> Schema:
    """The schema of a server, once it holds every block.

    Raises:
      NotServingError: the server cannot be reached, or is not full in time.
      DatasetError: it is not one of ours.
    """
    client = reverb.Client(address)
    deadline = time.monotonic() + timeout
    schema, held = None, 0
    while True:
        tables = _server_info(client, address, deadline)
        if tables.keys() != {SCHEMA, TRANSITIONS}:
            raise DatasetError(
                f"the Reverb server at {address} has the tables {sorted(tables)}; start one with "
                "`rl-datasets serve`"
            )
        if schema is None and tables[SCHEMA].current_size:
            schema = _read_schema(client)
        held = tables[TRANSITIONS].current_size
        if schema is not None and held == schema.num_blocks:
            return schema
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    expected = schema.num_blocks if schema else "an unknown number of"
    raise NotServingError(
        f"the Reverb server at {address} holds {held} of {expected} blocks after {timeout:g} s: "
        "wait until `rl-datasets serve` prints its address, or start it again"
    )


def schemas_of(addresses: Sequence[str], timeout: float) -> list[Schema]:
    """The schemas of servers that hold the parts of one dataset, each once, when all are full.

    Raises:
      NotServingError: as `wait_until_full`.
      DatasetError: likewise, or a server serves other data, or a part is missing or there twice.
    """
    schemas = [wait_until_full(address, timeout) for address in addresses]
    together = ", ".join(addresses)
    if len({_dataset(schema) for schema in schemas}) > 1:
        raise DatasetError(
            f"the Reverb servers at {together} serve different datasets, cut them differently, or "
            "count different parts: start all with the same options, except --part"
        )
    held = [schema.part.number for schema in schemas]
    for number in range(1, schemas[0].part.of + 1):
        if (times := held.count(number)) != 1:
            raise DatasetError(
                f"part {Part(number, schemas[0].part.of)} is served {times} times by the Reverb "
                f"servers at {together}: name one server for each part"
            )
    return schemas


def check_still_serves(served: Mapping[str, Schema]) -> None:
    """Refuses servers that do not serve what they served, by their addresses.

    Raises:
      NotServingError: as `wait_until_full`.
      DatasetError: it serves something else.
    """
    for address, schema in served.items():
        if wait_until_full(address, ANSWER_SECONDS) != schema:
            raise replaced(address)


def wait_for_return(address: str, schema: Schema) -> None:
    """Waits until a server serves again what it served, and says so if it does not yet.

    Raises:
      DatasetError: it serves something else.
    """
    is_said = False
    while True:
        with contextlib.suppress(NotServingError):
            return check_still_serves({address: schema})
        if not is_said:
            is_said = True
            print(
                f"the Reverb server at {address} is gone: waiting until it serves the same again",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(1)


def replaced(address: str) -> DatasetError:
    """The error of a server that serves something else than it did."""
    return DatasetError(
        f"the Reverb server at {address} was replaced by one that serves another dataset, or cuts "
        "it differently; serve the first dataset again, and continue from a checkpoint"
    )


def _server_info(client: reverb.Client, address: str, deadline: float) -> dict[str, Any]:
    try:
        return client.server_info(max(1, round(deadline - time.monotonic())))
    except (reverb.errors.DeadlineExceededError, RuntimeError) as error:
        raise NotServingError(
            f"no Reverb server answers at {address}; start it with `rl-datasets serve`, or correct "
            "the address"
        ) from error


def _read_schema(client: reverb.Client) -> Schema:
    with holding_back(CHATTER):
        sample = next(client.sample(SCHEMA, emit_timesteps=False))
    return Schema.from_json(sample.data[0].tobytes())


def _dataset(schema: Schema) -> bytes:
    """What the schemas of all parts of a dataset share."""
    layout = schema.layout and dataclasses.replace(schema.layout, num_frames=0)
    part = Part(1, schema.part.of)
    return dataclasses.replace(schema, num_transitions=0, layout=layout, part=part).to_json()
