"""Commands in a process of their own, and what came of them."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys

COMMAND = str(pathlib.Path(sys.executable).with_name("rl-datasets"))


@dataclasses.dataclass(frozen=True)
class Outcome:
    status: int
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The one line that a command that failed says, after its progress bar, if it had one."""
        assert "Traceback" not in self.stderr, self.stderr
        *before, last = self.stderr.splitlines()
        assert last.startswith("error: "), self.stderr
        told_before = [line for line in before if line and not re.search(" [0-9]+/[0-9]+ ", line)]
        assert all("crcmod" in line for line in told_before), self.stderr  # Beam's workers miss it.
        return last.removeprefix("error: ")


def start(command: list[str], folder: pathlib.Path, **kwargs) -> subprocess.Popen:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **kwargs,
    )


def end(process: subprocess.Popen) -> Outcome:
    try:
        stdout, stderr = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return Outcome(process.returncode, stdout, stderr)
