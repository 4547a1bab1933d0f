"""Stores on this machine that keep their promise: of many creators of a file, one succeeds.

fsouza/fake-gcs-server is a program in Go, which `make emulators` builds; moto serves S3.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUCKET = "bucket"


def gcs_server() -> str | None:
    """The program of the server of Google Cloud Storage; None if it was not built."""
    built = ROOT / ".bin" / "fake-gcs-server"
    return str(built) if built.is_file() else shutil.which("fake-gcs-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def gcs(program: str) -> Iterator[dict[str, str]]:
    """Serves an empty bucket `BUCKET`; yields the environment in which clients find it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    options += ["-public-host", f"127.0.0.1:{port}", "-external-url", url, "-log-level", "error"]
    with subprocess.Popen([program, *options]) as server:
        try:
            _wait_for(port)
            body = json.dumps({"name": BUCKET}).encode()
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(
                urllib.request.Request(f"{url}/storage/v1/b?project=p", body, headers), timeout=10
            )
            yield {"STORAGE_EMULATOR_HOST": url}
        finally:
            server.terminate()


@contextlib.contextmanager
def s3() -> Iterator[dict[str, str]]:
    """Serves an empty bucket `BUCKET`; yields the environment in which clients find it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        ).create_bucket(Bucket=BUCKET)
        yield environment
    finally:
        server.stop()


def _wait_for(port: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets variables, and makes clients forget the server of before."""
    from rl_datasets.stores import gcs, s3

    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    gcs._client_of.cache_clear()
    s3._client_of.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        gcs._client_of.cache_clear()
        s3._client_of.cache_clear()
