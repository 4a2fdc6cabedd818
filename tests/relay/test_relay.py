"""The relay's time and its counts, seen from outside."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

PROGRAM = Path(__file__).with_name("relay.py")
DELAY = 0.02


def echo(listener: socket.socket) -> None:
    """Greets each client and sends back what comes, until it ends."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"hello")
            while data := connection.recv(1 << 16):
                connection.sendall(data)


class Relay(unittest.TestCase):
    def setUp(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        self.relay = subprocess.Popen(
            [
                sys.executable,
                "-B",
                PROGRAM,
                "--to",
                f"127.0.0.1:{listener.getsockname()[1]}",
                f"--delay-ms={DELAY * 1000}",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.relay.stdout.close)
        self.addCleanup(self.relay.wait)
        self.addCleanup(self.relay.kill)
        self.port = json.loads(self.relay.stdout.readline())["port"]

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        self.addCleanup(client.close)
        self.assertEqual(client.recv(100), b"hello")
        return client

    def totals(self) -> dict:
        self.relay.send_signal(signal.SIGTERM)
        return json.loads(self.relay.stdout.readline())

    def test_delays_each_way_and_counts(self) -> None:
        client = self.connect()
        for _ in range(3):
            began = time.monotonic()
            client.sendall(b"ping")
            self.assertEqual(client.recv(100), b"ping")
            self.assertGreaterEqual(time.monotonic() - began, 2 * DELAY)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.recv(100), b"")
        self.connect()
        totals = self.totals()
        self.assertEqual({key: totals[key] for key in totals if key != "each"},
                         {"connections": 2, "bytesUp": 12, "bytesDown": 22, "directionChanges": 6})  # fmt: skip
        self.assertEqual([one["directionChanges"] for one in totals["each"]], [6, 0])
        # The second is still open, and counts until now.
        self.assertTrue(all(one["seconds"] > 2 * DELAY for one in totals["each"]), totals)

    def test_carries_much_at_once(self) -> None:
        client = self.connect()
        sent = bytes(range(256)) * 20_000
        threading.Thread(target=client.sendall, args=(sent,)).start()
        began, got = time.monotonic(), bytearray()
        while len(got) < len(sent):
            got += client.recv(1 << 20)
        self.assertEqual(bytes(got), sent)
        # Pieces travel together; one after the other they would take 80 delays each way.
        self.assertLess(time.monotonic() - began, 80 * DELAY)

    def test_refused_upstream_ends_the_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            nobody = unused.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, "-B", PROGRAM, "--to", f"127.0.0.1:{nobody}"], stdout=subprocess.PIPE
        ) as relay:
            self.addCleanup(relay.kill)
            port = json.loads(relay.stdout.readline())["port"]
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                with self.assertRaises(ConnectionResetError):
                    if client.recv(1) == b"":
                        raise ConnectionResetError
            relay.terminate()
            self.assertEqual(json.loads(relay.stdout.read())["connections"], 1)


if __name__ == "__main__":
    unittest.main()
