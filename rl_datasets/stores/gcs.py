"""Google Cloud Storage, by Google's own library.

It takes the credentials that the environment has (GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth
application-default login`, or a machine of Google's own) and is anonymous without any; if
STORAGE_EMULATOR_HOST names another server, it uses that one, anonymously.

A file is created with `ifGenerationMatch=0`, which the store obeys even if many write at once.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import IO, Any

from google.api_core import exceptions

from rl_datasets.stores import google_errors
from rl_datasets.stores.store import Stat, Store

SCHEME = "gs://"
_CLOSED = (
    "to this account: log in with one that may use it (`gcloud auth application-default login`)"
)
PIECE = 1 << 23  # Bytes of a file that one request asks for or sends, and that memory holds.


class GcsStore(Store):
    """Files of a bucket below a folder."""

    def put(self, name: str, file: IO[bytes]) -> bool:
        with self._naming(name):
            blob = self._blob(name)
            blob.chunk_size = PIECE
            try:
                blob.upload_from_file(
                    file,
                    if_generation_match=0,
                    checksum="crc32c",
                    timeout=google_errors.TIMEOUT,
                    retry=google_errors.retry(),
                )
            except exceptions.PreconditionFailed:
                return False
            return True

    def pieces(self, name: str) -> Iterator[bytes]:
        blob = self._get(name)
        if blob is None:
            raise FileNotFoundError(f"{self.at(name)} does not exist")
        for start in range(0, blob.size, PIECE):
            with self._naming(name):
                yield self._blob(name, blob.generation).download_as_bytes(
                    start=start,
                    end=min(start + PIECE, blob.size) - 1,
                    raw_download=True,
                    checksum=None,  # The store has no checksums of pieces.
                    timeout=google_errors.TIMEOUT,
                    retry=google_errors.retry(),
                )

    def stat(self, name: str) -> Stat | None:
        blob = self._get(name)
        return None if blob is None else Stat(blob.size, f"crc32c:{blob.crc32c}")

    def copy(self, name: str, to: str) -> None:
        if self.stat(to) is not None:
            return
        with self._naming(name):
            source, target = self._blob(name), self._blob(to)
            try:
                token = None
                while True:  # One call copies as much as the store likes.
                    token, _, _ = target.rewrite(
                        source,
                        token=token,
                        if_generation_match=0,
                        timeout=google_errors.TIMEOUT,
                        retry=google_errors.retry(),
                    )
                    if token is None:
                        return
            except exceptions.NotFound as error:
                raise FileNotFoundError(f"{self.at(name)} does not exist") from error
            except exceptions.PreconditionFailed:
                return

    def names(self, beginning: str = "") -> list[str]:
        bucket, folder = self._place
        with self._naming(beginning):
            blobs = _client().list_blobs(
                bucket,
                prefix=folder + beginning,
                fields="items(name),nextPageToken",
                timeout=google_errors.TIMEOUT,
                retry=google_errors.retry(),
            )
            return sorted(blob.name.removeprefix(folder) for blob in blobs)

    def delete(self, name: str) -> None:
        with self._naming(name), contextlib.suppress(exceptions.NotFound):
            self._blob(name).delete(timeout=google_errors.TIMEOUT, retry=google_errors.retry())

    @property
    def _place(self) -> tuple[str, str]:
        """The bucket, and the beginning of the names in it."""
        bucket, _, folder = self.url.removeprefix(SCHEME).partition("/")
        return bucket, f"{folder}/" if folder else ""

    def _blob(self, name: str, generation: int | None = None) -> Any:
        bucket, folder = self._place
        return _client().bucket(bucket).blob(folder + name, generation=generation)

    def _get(self, name: str) -> Any:
        bucket, folder = self._place
        with self._naming(name):
            return (
                _client()
                .bucket(bucket)
                .get_blob(folder + name, timeout=google_errors.TIMEOUT, retry=google_errors.retry())
            )

    def _naming(self, name: str) -> contextlib.AbstractContextManager[None]:
        return google_errors.naming(self.at(name), _CLOSED, "correct the address")


def open_store(url: str) -> GcsStore:
    """The store of the files below `gs://bucket/folder`."""
    return GcsStore(url)


def _client() -> Any:
    return _client_of(os.getpid())  # A connection must not be shared with a forked process.


@functools.lru_cache(maxsize=1)
def _client_of(process: int) -> Any:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.storage import Client

    if "STORAGE_EMULATOR_HOST" in os.environ:
        return Client.create_anonymous_client()
    try:
        credentials, _ = google.auth.default(
            scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
        )
    except DefaultCredentialsError:
        return Client.create_anonymous_client()
    return Client(project="unused", credentials=credentials)  # A project only matters for buckets.
