"""Requests to Google Cloud Storage: how long they are tried, and what their errors say.

A try of a request gives up after `TIMEOUT`, and no try begins later than `RETRY_SECONDS` after the
first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3
from google.api_core import exceptions
from google.api_core import retry as retries
from google.auth.exceptions import GoogleAuthError

from rl_datasets.errors import DatasetError

TIMEOUT = (10.0, 20.0)  # Seconds to connect, and to wait for the next bytes.
RETRY_SECONDS = 30.0


def retry(check: Callable[[], None] = lambda: None) -> Any:
    """Retries what may still succeed, as long as `check` does not raise."""
    may_succeed = retries.if_exception_type(
        exceptions.TooManyRequests,
        exceptions.ServerError,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        ConnectionError,
    )
    return retries.Retry(may_succeed, timeout=RETRY_SECONDS, on_error=lambda _: check())


@contextlib.contextmanager
def naming(name: str, if_closed: str, else_: str) -> Iterator[None]:
    """Turns every error of a bucket's answer into a `DatasetError`.

    Args:
      name: the address of the object.
      if_closed: what to do about an object that is closed to this account.
      else_: what to do about any other error.
    """
    try:
        yield
    except exceptions.NotFound as error:
        raise DatasetError(f"{name} does not exist: {else_}") from error
    # On a 401 the library tries to refresh credentials, even if there are none.
    except (exceptions.Forbidden, exceptions.Unauthorized, GoogleAuthError) as error:
        raise DatasetError(f"{name} is closed {if_closed}") from error
    except (
        exceptions.GoogleAPIError,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        ConnectionError,
    ) as error:
        raise DatasetError(
            f"{name} cannot be used ({_reason(error)}): run the same command again when it can be "
            f"reached, or {else_}"
        ) from error


def _reason(error: BaseException) -> str:
    """The HTTP status, or the innermost of errors that several libraries have wrapped."""
    if code := getattr(getattr(error, "cause", error), "code", None):
        return f"HTTP status {int(code)}"
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__
