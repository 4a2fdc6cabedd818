"""Each fault as a client meets it."""

from __future__ import annotations

import http.client
import http.server
import json
import socket
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fault_proxy


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers a GET with 1000 bytes, in chunks at /chunks, and anything else with the body that came."""

    protocol_version = "HTTP/1.1"
    served: list[str] = []

    def do_GET(self) -> None:
        self.served.append(self.command)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"a" * 1000
        self.send_response_only(200)
        self.send_header("Docker-Content-Digest", "sha256:right")
        self.send_header("Location", f"http://{self.headers['Host']}/next")
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_HEAD = do_GET

    def log_message(self, *_) -> None:
        pass


class FaultProxy(unittest.TestCase):
    def setUp(self) -> None:
        Upstream.served.clear()
        upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        threading.Thread(target=upstream.serve_forever, args=(0.05,), daemon=True).start()
        proxy = fault_proxy.listen(f"http://127.0.0.1:{upstream.server_port}", None, 0, [])
        for server in (upstream, proxy):
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
        self.client = http.client.HTTPConnection("127.0.0.1", proxy.server_port, timeout=5)
        self.addCleanup(self.client.close)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        self.client.request(method, path, body)
        answer = self.client.getresponse()
        return answer, answer.read()

    def faults(self, *faults: dict) -> None:
        answer, text = self.ask("PUT", "/_faults", json.dumps(faults).encode())
        self.assertEqual(answer.status, 200, text)

    def requests(self) -> list[dict]:
        return json.loads(self.ask("GET", "/_faults")[1])["requests"]

    def test_passes_everything_on(self) -> None:
        answer, body = self.ask("PUT", "/x?y=z", b"b" * 300_000)
        self.assertEqual((answer.status, body), (200, b"b" * 300_000))
        self.assertEqual(answer.getheader("Location"), f"http://127.0.0.1:{self.client.port}/next")
        self.assertEqual(self.ask("GET", "/chunks")[1], b"hello")
        answer, body = self.ask("HEAD", "/")
        self.assertEqual((answer.getheader("Content-Length"), body), ("1000", b""))
        self.assertEqual(
            [(one["method"], one["bytes"]) for one in self.requests()], [("PUT", 300_000), ("GET", 0), ("HEAD", 0)]
        )

    def test_answers_a_status_so_many_times(self) -> None:
        self.faults({"fault": "status", "method": "PUT", "path": "^/v2/", "skip": 1, "times": 2, "status": 429,
                     "headers": {"Retry-After": "1"}, "body": "slow down"})  # fmt: skip
        seen = [self.ask("PUT", "/v2/", b"x")[0] for _ in range(4)]
        self.assertEqual([answer.status for answer in seen], [200, 429, 429, 200])
        self.assertEqual(seen[1].getheader("Retry-After"), "1")
        self.assertEqual(Upstream.served, ["PUT", "PUT"])
        self.assertEqual([one["fault"] for one in self.requests()], ["none", "status", "status", "none"])

    def test_resets(self) -> None:
        self.faults({"fault": "reset"}, {"fault": "reset", "bytes": 100})
        for body in (None, b"x" * 50_000):
            with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                self.ask("PUT", "/", body)
            self.client.close()
        self.assertEqual(Upstream.served, [])

    def test_loses_an_answer(self) -> None:
        self.faults({"fault": "lose"})
        with self.assertRaises(ConnectionResetError):
            self.ask("PUT", "/", b"x")
        self.assertEqual(Upstream.served, ["PUT"])

    def test_stalls(self) -> None:
        self.faults({"fault": "stall"})
        self.client.close()
        self.client.timeout = 0.2
        with self.assertRaises(socket.timeout):
            self.ask("GET", "/")

    def test_stalls_until_the_client_leaves(self) -> None:
        self.faults({"fault": "stall"}, {"fault": "stall", "unread": True, "seconds": 1})
        for size in (10, 1 << 25):
            self.client.close()
            self.client.timeout = 0.2
            # The second is more than connections have room for.
            with self.assertRaises(socket.timeout):
                self.ask("PUT", "/", bytes(size))
        self.client.close()
        self.client.timeout = 5
        patience = time.monotonic() + 5
        while not (record := json.loads(self.ask("GET", "/_faults")[1])["requests"])[0]["left"]:
            self.assertLess(time.monotonic(), patience)
        self.assertEqual([request["bytes"] for request in record], [10, 0])

    def test_truncates(self) -> None:
        self.faults({"fault": "truncate", "bytes": 10}, {"fault": "truncate", "path": "chunks"})
        for path, partial in (("/", b"a" * 10), ("/chunks", b"he")):
            with self.assertRaises(http.client.IncompleteRead) as caught:
                self.ask("GET", path)
            self.client.close()
            self.assertEqual(caught.exception.partial, partial)

    def test_corrupts(self) -> None:
        self.faults({"fault": "corrupt"}, {"fault": "headers", "headers": {"docker-content-digest": "sha256:wrong"}})
        self.assertEqual(self.ask("GET", "/")[1], b"\x9e" + b"a" * 999)
        answer, body = self.ask("GET", "/")
        self.assertEqual((answer.msg.get_all("Docker-Content-Digest"), len(body)), (["sha256:wrong"], 1000))

    def test_refuses_a_fault_it_does_not_know(self) -> None:
        answer, body = self.ask("PUT", "/_faults", b'[{"fault": "rest"}]')
        self.assertEqual(answer.status, 400)
        self.assertIn(b"'rest'", body)


if __name__ == "__main__":
    unittest.main()
