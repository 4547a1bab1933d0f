"""Amazon S3, and stores that speak its protocol, by Amazon's own library, boto3.

It takes the credentials that boto3 finds; AWS_ENDPOINT_URL names another server. A file is created
by one request with `If-None-Match: *`, which the store obeys even if many write at once, and which
bounds its size.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from typing import IO, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rl_datasets.errors import DatasetError
from rl_datasets.stores.store import Stat, Store

SCHEME = "s3://"
LARGEST = 5 << 30  # Bytes of a file that one request can create, or copy.
PIECE = 1 << 20
_ABSENT = ("404", "NoSuchKey", "NotFound")
_EXISTS = ("412", "PreconditionFailed")
_BUSY = ("409", "ConditionalRequestConflict")  # Another request creates the file right now.
_CLOSED = ("401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch")


class S3Store(Store):
    """Files of a bucket below a folder."""

    def put(self, name: str, file: IO[bytes]) -> bool:
        size = file.seek(0, os.SEEK_END)
        if size > LARGEST:
            raise DatasetError(
                f"{self.at(name)} would have {size:,} bytes, and S3 creates files of at most "
                f"{LARGEST:,} at once: publish from smaller units, or into a bucket of gs://"
            )
        while True:
            file.seek(0)
            with self._naming(name):
                try:
                    _client().put_object(
                        **self._key(name), Body=file, IfNoneMatch="*", ChecksumAlgorithm="SHA256"
                    )
                    return True
                except ClientError as error:
                    if _code(error) in _EXISTS:
                        return False
                    if _code(error) not in _BUSY:
                        raise
            time.sleep(0.2)

    def pieces(self, name: str) -> Iterator[bytes]:
        with self._naming(name):
            yield from _client().get_object(**self._key(name))["Body"].iter_chunks(PIECE)

    def stat(self, name: str) -> Stat | None:
        try:
            with self._naming(name):
                head = _client().head_object(**self._key(name), ChecksumMode="ENABLED")
        except FileNotFoundError:
            return None
        checksum = head.get("ChecksumSHA256")
        return Stat(head["ContentLength"], f"sha256:{checksum}" if checksum else "")

    def copy(self, name: str, to: str) -> None:
        if self.stat(to) is None:
            with self._naming(name):
                _client().copy_object(
                    **self._key(to), CopySource=self._key(name), ChecksumAlgorithm="SHA256"
                )

    def names(self, beginning: str = "") -> list[str]:
        bucket, folder = self._place
        with self._naming(beginning):
            pages = _client().get_paginator("list_objects_v2")
            return sorted(
                item["Key"].removeprefix(folder)
                for page in pages.paginate(Bucket=bucket, Prefix=folder + beginning)
                for item in page.get("Contents", ())
            )

    def delete(self, name: str) -> None:
        with self._naming(name):
            _client().delete_object(**self._key(name))

    @property
    def _place(self) -> tuple[str, str]:
        """The bucket, and the beginning of the names in it."""
        bucket, _, folder = self.url.removeprefix(SCHEME).partition("/")
        return bucket, f"{folder}/" if folder else ""

    def _key(self, name: str) -> dict[str, str]:
        bucket, folder = self._place
        return {"Bucket": bucket, "Key": folder + name}

    @contextlib.contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if _code(error) in _ABSENT:
                raise FileNotFoundError(f"{self.at(name)} does not exist") from error
            if _code(error) in _CLOSED:
                raise DatasetError(
                    f"{self.at(name)} is closed to this account: give credentials that may use it "
                    "(`aws configure`)"
                ) from error
            raise self._unusable(name, error) from error
        except BotoCoreError as error:
            raise self._unusable(name, error) from error

    def _unusable(self, name: str, error: Exception) -> DatasetError:
        return DatasetError(
            f"{self.at(name)} cannot be used ({error}): run the same command again when it can be "
            "reached, or correct the address"
        )


def open_store(url: str) -> S3Store:
    """The store of the files below `s3://bucket/folder`."""
    return S3Store(url)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _client() -> Any:
    return _client_of(os.getpid())  # A connection must not be shared with a forked process.


@functools.lru_cache(maxsize=1)
def _client_of(process: int) -> Any:
    session = boto3.session.Session()
    return session.client(
        "s3",
        region_name=session.region_name or "us-east-1",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=10,
            read_timeout=20,
        ),
    )
