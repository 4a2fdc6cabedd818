"""An HTTP proxy that goes wrong on purpose: HTTP in on loopback, HTTP or HTTPS out to one server.

    fault_proxy.py --upstream URL [--ca FILE] [--port N] [--fault JSON]…

Prints `{"port": N}` once it listens. A fault is a JSON object that says which requests it meets and what happens:

    method    a regexp of the whole method; default any
    path      a regexp found anywhere in path and query; default any
    skip      so many matching requests pass first; default 0
    times     so many are met after that; default 1, 0 for all
    fault     one of
      status    answers `status` (default 503) with `headers` and `body`; upstream hears nothing.
                `"unread": true` answers without reading the request's body
      reset     resets the connection, after `bytes` (default 0) of the request's body were read
      stall     reads the request and says nothing for `seconds` (default 60), then closes. `"unread": true` leaves the
                request's body where it is, and is held for as long
      lose      passes the request on, and resets the connection instead of answering
      truncate  closes the connection after `bytes` (default half) of the answer's body
      corrupt   flips the bits of the answer's first body byte
      headers   answers with `headers` in place of upstream's, for example a wrong Docker-Content-Digest

The first fault that matches and is not used up happens. While the proxy runs, `PUT /_faults` with a JSON list replaces
the faults and clears the record; `GET /_faults` gives `{"faults": [… each with "met"], "requests": [{method, path,
fault, status, bytes, left}]}`, of which `bytes` are those of the request's body that were read, and `left` says of a
stall that is over whether the client went before.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import http.server
import json
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

CONTROL = "/_faults"
PIECE = 1 << 16
TIMEOUT = 120
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


class Faults:
    """The faults to come, and what has happened."""

    def __init__(self, faults: list[dict]) -> None:
        self.lock = threading.Lock()
        self.replace(faults)

    def replace(self, faults: list[dict]) -> None:
        """Starts anew with other faults."""
        for fault in faults:
            if fault.get("fault") not in ANSWERS:
                raise ValueError(f"no such fault: {fault.get('fault')!r}; there are {', '.join(ANSWERS)}")
            for part in ("method", "path"):
                re.compile(fault.get(part, ""))
        with self.lock:
            self.faults = [{**fault, "met": 0, "seen": 0} for fault in faults]
            self.requests: list[dict] = []

    def meet(self, method: str, path: str) -> dict:
        """The fault that this request meets, or one that is none."""
        with self.lock:
            for fault in self.faults:
                if not re.fullmatch(fault.get("method", ".*"), method) or not re.search(fault.get("path", ""), path):
                    continue
                fault["seen"] += 1
                times = fault.get("times", 1)
                if fault["seen"] > fault.get("skip", 0) and (not times or fault["met"] < times):
                    fault["met"] += 1
                    return fault
        return {"fault": "none"}


class Proxy(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = TIMEOUT
    faults: Faults
    upstream: str
    context: ssl.SSLContext | None

    def do_GET(self) -> None:
        """Any request; http.server calls a method per verb."""
        if self.path == CONTROL:
            self.control()
            return
        fault = self.faults.meet(self.command, self.path)
        self.record = {"method": self.command, "path": self.path, "fault": fault["fault"], "status": None, "bytes": 0, "left": None}
        with self.faults.lock:
            self.faults.requests.append(self.record)
        ANSWERS[fault["fault"]](self, fault)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def log_message(self, *_) -> None:
        """The record says it all."""

    def control(self) -> None:
        """Shows or replaces the faults."""
        status, answer = 200, {}
        if self.command == "PUT":
            try:
                self.faults.replace(json.loads(b"".join(self.body())))
            except (ValueError, re.error, AttributeError) as error:
                status, answer = 400, {"error": str(error)}
        else:
            with self.faults.lock:
                answer = {"faults": self.faults.faults, "requests": self.faults.requests}
        self.answer(status, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole answer of our own."""
        self.send_response_only(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        """The request's body in pieces, whether its length is told or it comes in chunks."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                yield self.counted(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                return
            left -= len(piece)
            yield self.counted(piece)

    def counted(self, piece: bytes) -> bytes:
        """The piece, noted in the record."""
        if hasattr(self, "record"):
            self.record["bytes"] += len(piece)
        return piece

    @contextlib.contextmanager
    def forwarded(self) -> Iterator[http.client.HTTPResponse]:
        """Sends the request upstream; its answer, of which only the head is read."""
        address = urlsplit(self.upstream)
        if self.context:
            connection = http.client.HTTPSConnection(address.netloc, context=self.context, timeout=TIMEOUT)
        else:
            connection = http.client.HTTPConnection(address.netloc, timeout=TIMEOUT)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            if key.lower() not in HOP_BY_HOP | {"expect", "x-forwarded-proto"}:
                connection.putheader(key, value)
        # A registry makes the addresses it answers with from these.
        connection.putheader("X-Forwarded-Proto", "http")
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for piece in self.body():
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.send(b"0\r\n\r\n")
        with contextlib.closing(connection), connection.getresponse() as answer:
            yield answer

    def relay(self, answer: http.client.HTTPResponse, headers: dict[str, str], bodies) -> None:
        """Passes an answer on, with some headers changed and `bodies` in place of its body."""
        self.send_response_only(answer.status, answer.reason)
        self.record["status"] = answer.status
        changed = {key.lower() for key in headers}
        for key, value in answer.getheaders():
            if key.lower() not in HOP_BY_HOP | changed:
                own = f"http://{self.headers.get('Host', '')}"
                self.send_header(key, value.replace(self.upstream, own) if key.lower() == "location" else value)
        for key, value in headers.items():
            self.send_header(key, value)
        chunked = answer.getheader("Content-Length") is None and answer.status not in (204, 304)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in bodies:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked and not self.close_connection:
            self.wfile.write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        # What http.server closes after us.
        self.wfile = self.rfile = open("/dev/null", "r+b", buffering=0)


def pieces(answer: http.client.HTTPResponse):
    """An answer's body as it comes."""
    while piece := answer.read1(PIECE):
        yield piece


def none(proxy: Proxy, _: dict) -> None:
    with proxy.forwarded() as answer:
        proxy.relay(answer, {}, pieces(answer))


def status(proxy: Proxy, fault: dict) -> None:
    if fault.get("unread"):
        proxy.close_connection = True
    else:
        for _ in proxy.body():
            pass
    proxy.record["status"] = fault.get("status", 503)
    proxy.answer(proxy.record["status"], fault.get("headers", {}), fault.get("body", "").encode())


def reset(proxy: Proxy, fault: dict) -> None:
    wanted = fault.get("bytes", 0)
    if wanted:
        for _ in proxy.body():
            if proxy.record["bytes"] >= wanted:
                break
    proxy.reset()


def stall(proxy: Proxy, fault: dict) -> None:
    if not fault.get("unread"):
        for _ in proxy.body():
            pass
    # Ends early where the client gives up; behind bytes that nobody reads its end does not show.
    client = select.poll()
    client.register(proxy.connection, select.POLLRDHUP)
    proxy.record["left"] = bool(client.poll(fault.get("seconds", 60) * 1000))
    proxy.close_connection = True


def lose(proxy: Proxy, _: dict) -> None:
    with proxy.forwarded() as answer:
        answer.read()
        proxy.record["status"] = answer.status
    proxy.reset()


def truncate(proxy: Proxy, fault: dict) -> None:
    with proxy.forwarded() as answer:
        body = answer.read()
        proxy.close_connection = True
        proxy.relay(answer, {}, [body[: fault.get("bytes", len(body) // 2)]])


def corrupt(proxy: Proxy, _: dict) -> None:
    with proxy.forwarded() as answer:
        body = bytearray(answer.read())
        body[:1] = (byte ^ 0xFF for byte in body[:1])
        proxy.relay(answer, {}, [bytes(body)] if body else [])


def headers(proxy: Proxy, fault: dict) -> None:
    with proxy.forwarded() as answer:
        proxy.relay(answer, fault.get("headers", {}), pieces(answer))


ANSWERS = {answer.__name__: answer for answer in (none, status, reset, stall, lose, truncate, corrupt, headers)}


def listen(upstream: str, ca: Path | None, port: int, faults: list[dict]) -> http.server.ThreadingHTTPServer:
    """A proxy on a loopback port, in a thread."""
    context = ssl.create_default_context(cafile=ca) if upstream.startswith("https:") else None
    handler = type(
        "Handler", (Proxy,), {"upstream": upstream.rstrip("/"), "context": context, "faults": Faults(faults)}
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description="an HTTP proxy that goes wrong on purpose")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", type=json.loads, action="append", default=[])
    options = parser.parse_args()
    server = listen(options.upstream, options.ca, options.port, options.fault)
    print(json.dumps({"port": server.server_port}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
