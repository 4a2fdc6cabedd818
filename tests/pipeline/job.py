"""A CI job: the pipeline's script in a fresh environment, as a runner would start it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

# bash writes a traced command to its own stream, with the time in front. Root's bash takes no PS4 from outside.
TRACED = """PS4='+ @$EPOCHREALTIME '; set -x; source "$0\""""
TRACE = re.compile(r"^\++ @(?P<time>[0-9.]+) (?P<command>.*)$")


@dataclass(frozen=True)
class Step:
    """One traced command of the script."""

    begin: float
    command: str


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    status: int
    stdout: str
    stderr: str
    steps: list[Step]
    end: float

    def ran(self, program: str) -> bool:
        """Whether the script got as far as starting this program."""
        return any(step.command.startswith(program) for step in self.steps)

    @property
    def answer(self) -> str:
        """The last line of stdout: what the pipeline's last command printed."""
        return self.stdout.strip().rsplit("\n", 1)[-1]

    def timed(self, starts: Collection[str]) -> list[tuple[str, str, float]]:
        """The steps that start with one of these words: the words, the command, and the seconds until the next."""
        found = [(start, step) for step in self.steps for start in starts if step.command.startswith(start)]
        ends = [*(step.begin for _, step in found[1:]), self.end]
        return [(start, step.command, end - step.begin) for (start, step), end in zip(found, ends, strict=False)]


def run(script: Path, folder: Path, environment: dict[str, str], show: bool = False) -> Outcome:
    """Runs a script in a folder with exactly this environment; `show` repeats its stderr as it comes."""
    with tempfile.TemporaryFile("w+") as trace, tempfile.TemporaryFile("w+") as stdout:
        process = subprocess.Popen(
            ["bash", "-c", TRACED, str(script)],
            cwd=folder,
            env={**environment, "BASH_XTRACEFD": str(trace.fileno())},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[trace.fileno()],
        )
        said = []
        with process:
            for line in process.stderr or ():
                said.append(line)
                if show:
                    print(f"    | {line}", end="", file=sys.stderr, flush=True)
        status = process.wait()
        end = time.time()
        trace.seek(0)
        stdout.seek(0)
        found = [match for line in trace if (match := TRACE.match(line))]
        steps = [Step(float(match["time"]), match["command"]) for match in found]
        return Outcome(status, stdout.read(), "".join(said), steps, end)
