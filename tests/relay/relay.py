"""A TCP relay on loopback that takes time and counts: a network of a given latency between a client and one server.

    relay.py --to HOST:PORT [--delay-ms 25] [--port N]

Prints `{"port": N}` once it listens, and at the end (SIGTERM or SIGINT) a JSON object:

    connections         how many were made
    bytesUp, bytesDown  from the client, to the client
    directionChanges    how often the data's direction turned, over all connections; two are a round trip
    each                the same of every connection, in the order of their making, with its `seconds`

Each piece of data arrives `delay-ms` after it was sent, either way, so a round trip takes twice that, however much is
on its way. Opening a connection takes no time: a real network would take one round trip more for each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from dataclasses import asdict, dataclass

PIECE = 1 << 16
# Pieces on their way in one direction; a sender then waits, as with a full window.
WINDOW = 256


@dataclass
class Count:
    """What went over a connection."""

    bytesUp: int = 0
    bytesDown: int = 0
    directionChanges: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.last = ""

    def add(self, direction: str, size: int) -> None:
        """Notes data that goes `Up` or `Down`."""
        setattr(self, f"bytes{direction}", getattr(self, f"bytes{direction}") + size)
        if self.last not in ("", direction):
            self.directionChanges += 1
        self.last = direction


class Relay:
    """Connections to one server."""

    def __init__(self, host: str, port: int, delay: float) -> None:
        self.target = (host, port)
        self.delay = delay
        self.counts: list[Count] = []
        self.open: set[asyncio.Task] = set()

    async def listen(self, port: int) -> asyncio.AbstractServer:
        """Starts on a loopback port."""
        return await asyncio.start_server(self.connection, "127.0.0.1", port)

    async def connection(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Passes one connection on until both sides have ended it."""
        self.open.add(asyncio.current_task())
        asyncio.current_task().add_done_callback(self.open.discard)
        began = time.monotonic()
        count = Count()
        self.counts.append(count)
        try:
            server, to_server = await asyncio.open_connection(*self.target)
        except OSError:
            to_client.transport.abort()
            return
        try:
            await asyncio.gather(
                self.direction("Up", client, to_server, count), self.direction("Down", server, to_client, count)
            )
        except (OSError, asyncio.CancelledError):
            # One side has gone, or the relay ends: so does the connection.
            pass
        finally:
            count.seconds = round(time.monotonic() - began, 4)
            for writer in (to_client, to_server):
                writer.close()

    async def direction(
        self, name: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter, count: Count
    ) -> None:
        """Reads at once, writes later."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WINDOW)
        writing = asyncio.ensure_future(self.arrive(under_way, sink))
        try:
            while True:
                data = await source.read(PIECE)
                if data:
                    count.add(name, len(data))
                await under_way.put((time.monotonic() + self.delay, data))
                if not data:
                    break
            await writing
        finally:
            writing.cancel()

    @staticmethod
    async def arrive(under_way: asyncio.Queue, sink: asyncio.StreamWriter) -> None:
        """Writes each piece when it is due; an empty one is the end."""
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if not data:
                sink.write_eof()
                return
            sink.write(data)
            await sink.drain()

    async def end(self) -> None:
        """Ends the connections, after a moment for what is under way."""
        if self.open:
            _, left = await asyncio.wait(self.open, timeout=1)
            for connection in left:
                connection.cancel()
            await asyncio.gather(*left)

    def totals(self) -> dict:
        """What is printed at the end."""
        fields = ("bytesUp", "bytesDown", "directionChanges")
        sums = {field: sum(getattr(count, field) for count in self.counts) for field in fields}
        return {"connections": len(self.counts), **sums, "each": [asdict(count) for count in self.counts]}


async def main() -> None:
    """Relays until it is ended."""
    parser = argparse.ArgumentParser(description="a TCP relay that takes time and counts")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--delay-ms", type=float, default=25)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    relay = Relay(host, int(port), options.delay_ms / 1000)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = await relay.listen(options.port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await ended.wait()
    server.close()
    await relay.end()
    print(json.dumps(relay.totals()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
