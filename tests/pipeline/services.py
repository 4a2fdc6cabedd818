"""The servers of the pipeline, brought up by the scripts under `scripts/services`."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "services"
# As in scripts/services/supervise.sh: what shares this folder shares the services.
STATE = Path(os.environ.get("GITOPS_STATE") or "/var/lib/gitops-steps")


class ServiceError(Exception):
    """A service did not come up or refused what was asked of it."""


@contextmanager
def alone(what: str = "story") -> Iterator[None]:
    """Waits until nobody else tells a story of this kind on these services: two would take each other's repositories away."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / f"{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another run works on the services in {STATE}: waiting for its end", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Service:
    """One script of `scripts/services`, perhaps as a named instance of its own."""

    name: str
    instance: str | None = None
    options: tuple[str, ...] = ()

    def command(self, *words: str) -> list[str]:
        """The command line of one of the script's verbs."""
        instance = ["--name", self.instance] if self.instance else []
        return [str(SCRIPTS / self.name), *instance, *self.options, *words]

    def call(self, *words: str) -> str:
        """Runs a verb; its stdout is the answer, its stderr goes to the terminal."""
        done = subprocess.run(self.command(*words), stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise ServiceError(f"`{self.name} {' '.join(words)}` ended with {done.returncode}")
        return done.stdout

    def up(self) -> dict[str, str]:
        """Brings the service up, if it is not, and returns what clients need."""
        self.call("up")
        return self.variables()

    def variables(self) -> dict[str, str]:
        """The `KEY='value'` lines of the script's `env`."""
        words = (word for line in self.call("env").splitlines() for word in shlex.split(line))
        return dict(word.split("=", 1) for word in words if word != "export")

    def down(self) -> None:
        """Takes the service down."""
        self.call("down")


ENGINE = Service("engine")
REGISTRY = Service("registry")
FORGE = Service("forge")
CLUSTER = Service("cluster")
