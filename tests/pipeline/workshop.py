"""What must be built before the story can be told: the tools, and images to start from."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from services import ROOT, Service, ServiceError
from telling import clock

TOOLS = ("imgtag", "covgate", "imgpush", "manifest-patch", "mr-push", "k8s-sync")


class Background:
    """A piece of work that goes on while the story is told; `result` waits for it."""

    def __init__(self, title: str, work: Callable[[], object]) -> None:
        self.title = title
        self._work = work
        self._result: object = None
        self._error: BaseException | None = None
        self._begin = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=title, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._error = error

    def wait(self) -> None:
        """Waits in silence, whatever comes of it."""
        self._thread.join()

    def result(self):
        """Waits, saying every twenty seconds what for."""
        while self._thread.is_alive():
            self._thread.join(timeout=20)
            if self._thread.is_alive():
                print(f"    … {self.title} ({clock(time.monotonic() - self._begin)})", file=sys.stderr, flush=True)
        if self._error is not None:
            raise self._error
        return self._result


def build_tools() -> Path:
    """Builds the six tools as static release binaries; returns their folder. GITOPS_TOOLS names one that is there."""
    if there := os.environ.get("GITOPS_TOOLS"):
        return Path(there)
    done = subprocess.run(
        [str(ROOT / "scripts" / "build-static"), *TOOLS], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise ServiceError("scripts/build-static failed: its messages are above")
    folders = {Path(line).parent for line in done.stdout.split()}
    if len(folders) != 1:
        raise ServiceError(f"scripts/build-static left the tools in {sorted(map(str, folders))}")
    return folders.pop()


def base_image() -> str:
    """Makes the Python image that the application starts from; returns its name."""
    return Service("base-image").up()["BASE_IMAGE"]
