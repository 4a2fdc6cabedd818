"""Doors to servers that take time, as a network would, and count what goes through."""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys

from measure import ROOT


class Relays:
    """A relay for each server, given as `name="host:port"`; `ports` has theirs. `delay` is in milliseconds each way."""

    def __init__(self, delay: float, **servers: str) -> None:
        self.ports: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen] = {}
        for name, address in servers.items():
            command = [sys.executable, ROOT / "tests/relay/relay.py", "--to", address, "--delay-ms", str(delay)]
            running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            self._running[name] = running
            atexit.register(running.kill)  # where the comparison ends early
            self.ports[name] = json.loads(running.stdout.readline())["port"]

    def close(self) -> dict[str, int]:
        """The sums over all of them."""
        sums = {"connections": 0, "directionChanges": 0, "bytesUp": 0, "bytesDown": 0}
        for running in self._running.values():
            running.send_signal(signal.SIGTERM)
            counts = json.loads(running.communicate()[0])
            sums = {key: value + counts[key] for key, value in sums.items()}
        return sums
