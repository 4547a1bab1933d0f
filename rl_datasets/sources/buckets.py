"""Objects of public buckets on Google Cloud Storage: listed, and copied whole or not at all.

Access is anonymous, so no credentials are used. Requests are tried as `stores.google_errors` says.
Google's own library does the rest; it uses another server if STORAGE_EMULATOR_HOST names one.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import errno
import hashlib
from collections.abc import Callable
from typing import IO, Any

import google_crc32c

from rl_datasets.errors import DatasetError

SCHEME = "gs://"
PIECE = 1 << 23  # Bytes of an object that one request asks for, and that memory holds.

_FIELDS = "items(name,generation,size,crc32c,md5Hash),nextPageToken"
_ALTERNATIVES = "name another bucket, or a folder that holds a copy"


@dataclasses.dataclass(frozen=True)
class Object:
    """An object of a bucket, as the bucket described it when it was listed.

    Attributes:
      name: gs://<bucket>/<path>.
      generation: the version of the object; None if the bucket has no such object.
      size: its size in bytes.
      checksums: `crc32c` and `md5` of its bytes, in base64, as far as the bucket has them.
    """

    name: str
    generation: int | None = None
    size: int = 0
    checksums: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def identity(self) -> dict[str, Any]:
        """What identifies the object's content, as plain data.

        Raises:
          FileNotFoundError: the bucket has no such object.
        """
        if self.generation is None:
            raise FileNotFoundError(errno.ENOENT, "the bucket does not hold it", self.name)
        return {"size": self.size, **dict(self.checksums)}

    def copy_to(self, file: IO[bytes], check: Callable[[], None] = lambda: None) -> str:
        """Copies the object piece by piece, and returns the sha256 of its bytes in hexadecimal.

        Args:
          file: takes the bytes.
          check: called before every piece, and when one has failed; may raise.

        Raises:
          DatasetError: the object cannot be read, has changed since it was listed, or does not
            arrive as the bucket describes it.
          OSError: the file cannot be written.
        """
        if self.generation is None:
            raise DatasetError(f"{self.name} does not exist: {_ALTERNATIVES}")
        arrived: dict[str, Any] = {
            "sha256": hashlib.sha256(),
            "md5": hashlib.md5(usedforsecurity=False),
            "crc32c": google_crc32c.Checksum(),
        }
        from rl_datasets.stores import google_errors

        bucket, path = _parse(self.name)
        client = _client()
        for start in range(0, self.size, PIECE):
            check()
            stop = min(start + PIECE, self.size)
            with _naming(self.name):
                # A new one each time, because a download makes it forget the generation.
                blob = client.bucket(bucket).blob(path, generation=self.generation)
                piece = google_errors.retry(check)(blob.download_as_bytes)(
                    start=start,
                    end=stop - 1,
                    raw_download=True,
                    checksum=None,  # The bucket has no checksums of pieces.
                    timeout=google_errors.TIMEOUT,
                    retry=None,
                )
            if len(piece) != stop - start:
                raise DatasetError(
                    f"{self.name} is truncated: only {len(piece)} of bytes {start} to {stop} of "
                    f"{self.size} arrived; publish again, or {_ALTERNATIVES}"
                )
            for checksum in arrived.values():
                checksum.update(piece)
            file.write(piece)
        for name, expected in self.checksums:
            digest = base64.b64encode(arrived[name].digest()).decode()
            if digest != expected:
                raise DatasetError(
                    f"{self.name} did not arrive as it is in the bucket: its {name} is {digest}, "
                    f"not {expected}; publish again, or {_ALTERNATIVES}"
                )
        file.flush()
        return arrived["sha256"].hexdigest()


def is_url(source: str) -> bool:
    """Whether the source is a bucket, or a folder in one."""
    return source.startswith(SCHEME)


def list_folder(url: str, prefix: str = "") -> dict[str, Object]:
    """The objects in a folder of a bucket, by their names there.

    Args:
      url: gs://<bucket>, or gs://<bucket>/<folder>.
      prefix: the beginning of their names.

    Raises:
      DatasetError: there is no such bucket, or it is closed or cannot be reached.
    """
    from rl_datasets.stores import google_errors

    bucket, path = _parse(url)
    folder = f"{path}/" if path else ""
    with _naming(f"{SCHEME}{bucket}"):
        blobs = _client().list_blobs(
            bucket,
            prefix=folder + prefix,
            delimiter="/",
            fields=_FIELDS,
            timeout=google_errors.TIMEOUT,
            retry=google_errors.retry(),
        )
        return {blob.name.removeprefix(folder): _object(bucket, blob) for blob in blobs}


def _object(bucket: str, blob: Any) -> Object:
    checksums = {"crc32c": blob.crc32c, "md5": blob.md5_hash}
    return Object(
        name=f"{SCHEME}{bucket}/{blob.name}",
        generation=blob.generation,
        size=blob.size,
        checksums=tuple((name, value) for name, value in checksums.items() if value),
    )


def _parse(url: str) -> tuple[str, str]:
    """The bucket and the path in it."""
    bucket, _, path = url.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise DatasetError(f"{url} names no bucket: name one, such as gs://rl_unplugged")
    return bucket, path.strip("/")


def _client() -> Any:
    from google.cloud.storage import Client

    return Client.create_anonymous_client()


def _naming(name: str) -> contextlib.AbstractContextManager[None]:
    from rl_datasets.stores import google_errors

    return google_errors.naming(
        name,
        "to anonymous readers: copy it with an account that may read it (`gcloud storage cp -r`), "
        "or mount it, and name the folder",
        _ALTERNATIVES,
    )
