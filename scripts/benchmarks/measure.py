"""Runs ways to do the same work side by side, checks that they did the same, and says what each took.

A benchmark is a script beside this file:

    bench = Bench(__doc__)
    bench.compare("one small file", Way("manifest-patch", ours), [Way("yq", theirs, Target(wall=1 / 4))], agree=same_bytes)
    bench.grows("by documents", {1_000: ours_on(1_000), 10_000: ours_on(10_000)})
    bench.finish()

The ways take turns, so that a busy moment of the machine meets them all. The first turn warms caches and is not
counted. Figures are medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("GITOPS_CACHE") or "/var/cache/gitops-steps")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Command:
    """What is run: statuses that count as success, and servers whose CPU time is the command's too."""

    argv: Sequence[str | Path]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None
    stdin: Path | None = None
    statuses: Sequence[int] = (0,)
    servers: Sequence[int] = ()


@dataclass(frozen=True)
class Run:
    """One run: wall and CPU seconds, and what was printed."""

    wall: float
    cpu: float
    stdout: bytes
    stderr: bytes
    status: int


@dataclass(frozen=True)
class Target:
    """Upper bounds of our share of the other's figure."""

    wall: float | None = None
    cpu: float | None = None
    memory: float | None = None
    instructions: float | None = None


@dataclass(frozen=True)
class Way:
    """One way to do the work. A function is called before each run, with a number that no other run of this way gets,
    and prepares it."""

    name: str
    command: Command | Callable[[int], Command]
    target: Target = field(default_factory=Target)

    def prepared(self, turn: int) -> Command:
        return self.command if isinstance(self.command, Command) else self.command(turn)


class DifferentWork(Exception):
    """The ways did not do the same, so their times say nothing."""


def _server_cpu(pids: Iterable[int]) -> float:
    seconds = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += sum(map(int, fields[11:15])) / TICKS
    return seconds


def run(command: Command) -> Run:
    """Runs it to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin = command.stdin.open("rb") if command.stdin else subprocess.DEVNULL
        servers = _server_cpu(command.servers)
        start = time.perf_counter()
        child = subprocess.Popen(
            [str(word) for word in command.argv], cwd=command.cwd, env=command.env, stdin=stdin, stdout=out, stderr=err
        )
        _, waited, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        servers = _server_cpu(command.servers) - servers
        child.returncode = status = os.waitstatus_to_exitcode(waited)
        if command.stdin:
            stdin.close()
        out.seek(0)
        err.seek(0)
        done = Run(wall, used.ru_utime + used.ru_stime + servers, out.read(), err.read(), status)
    if status not in command.statuses:
        raise DifferentWork(f"{command.argv[0]} ended with {status}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done


def _need(program: str, package: str) -> None:
    if not shutil.which(program):
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True, stdout=sys.stderr)


def peak_memory(command: Command) -> int:
    """Its peak memory in bytes. Of a run of its own, started by a small program: the kernel counts what the process was
    before `exec` too, and that would be this interpreter."""
    _need("time", "time")
    with tempfile.NamedTemporaryFile() as file:
        argv = ["time", "-q", "-f", "%M", "-o", file.name, *command.argv]
        run(replace(command, argv=argv))
        return int(file.read()) * 1024


def instructions(command: Command) -> int:
    """How many instructions it takes, counted by valgrind: the same on a busy machine."""
    _need("valgrind", "valgrind")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.%p"
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--trace-children=yes"]
        run(replace(command, argv=[*valgrind, f"--log-file={log}", *command.argv]))
        logs = [path.read_text() for path in Path(folder).iterdir()]
    return sum(int(number.replace(",", "")) for text in logs for number in re.findall(r"I +refs: +([\d,]+)", text))


def allocations(command: Command) -> int:
    """How often it asks the heap for memory. Of a program that is linked to the C library while it runs."""
    _need("valgrind", "valgrind")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        valgrind = ["valgrind", "--tool=memcheck", "--undef-value-errors=no", f"--log-file={log}"]
        run(replace(command, argv=[*valgrind, *command.argv]))
        return int(re.search(r"total heap usage: ([\d,]+) allocs", log.read_text())[1].replace(",", ""))


def _share(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else math.inf


class Bench:
    """What one benchmark measured. The script's text is its help; its name is the tool's."""

    def __init__(self, text: str) -> None:
        parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--rounds", type=int, default=5, help="counted turns (default: 5)")
        parser.add_argument("--only", default="", metavar="TEXT", help="only comparisons whose title contains it")
        parser.add_argument("--binary", type=Path, help="the tool to measure (default: a static release build)")
        parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was measured there")
        self.options = parser.parse_args()
        self.tool = Path(sys.argv[0]).name
        self.measured: list[dict] = []
        self.missed = 0
        self._folder = tempfile.TemporaryDirectory(prefix=f"bench-{self.tool}-")
        self.folder = Path(self._folder.name)
        self._binary: Path | None = None

    def binary(self) -> Path:
        """The tool as users get it."""
        if self._binary is None:
            given = self.options.binary or subprocess.run(
                [ROOT / "scripts" / "build-static", self.tool], check=True, stdout=subprocess.PIPE, text=True
            ).stdout.strip()
            self._binary = Path(given).resolve()
        return self._binary

    def wanted(self, title: str) -> bool:
        return self.options.only in title

    def compare(
        self,
        title: str,
        ours: Way,
        peers: Sequence[Way],
        agree: Callable[[dict[str, Run]], None] = lambda runs: None,
        counted: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        """Lets the ways take turns. `agree` raises `DifferentWork` after a turn in which they did not do the same;
        `counted` also counts instructions; `memory_limit` is in bytes and is ours."""
        if not self.wanted(title):
            return
        ways = [ours, *peers]
        turns: list[dict[str, Run]] = []
        for turn in range(self.options.rounds + 1):
            runs = {way.name: run(way.prepared(turn)) for way in ways}
            agree(runs)
            if turn:
                turns.append(runs)
        rows = []
        extra = itertools.count(self.options.rounds + 1)
        for way in ways:
            runs = [turn[way.name] for turn in turns]
            row = {
                "way": way.name,
                "wall": statistics.median(one.wall for one in runs),
                "cpu": statistics.median(one.cpu for one in runs),
                "memory": peak_memory(way.prepared(next(extra))),
            }
            if counted:
                row["instructions"] = instructions(way.prepared(next(extra)))
            rows.append(row)
        mine = rows[0]
        for row, way in zip(rows[1:], peers):
            row["share"] = {key: _share(mine[key], row[key]) for key in ("wall", "cpu", "memory", "instructions") if key in row}
            row["target"] = {key: bound for key, bound in asdict(way.target).items() if bound is not None}
            row["met"] = all(row["share"][key] <= bound for key, bound in row["target"].items())
            self.missed += not row["met"]
        if memory_limit is not None:
            mine["memoryLimit"] = memory_limit
            mine["met"] = mine["memory"] <= memory_limit
            self.missed += not mine["met"]
        self.measured.append({"title": title, "rounds": self.options.rounds, "ways": rows})
        print(table(self.measured[-1]), file=sys.stderr, flush=True)

    def grows(self, title: str, sizes: Mapping[int, Command | Callable[[int], Command]]) -> None:
        """How the cost grows with the size: the slope is the exponent, 1 where it is proportional."""
        if not self.wanted(title):
            return
        points = []
        for size, command in sizes.items():
            way = Way(title, command)
            runs = [run(way.prepared(turn)) for turn in range(self.options.rounds + 1)][1:]
            points.append(
                {
                    "size": size,
                    "wall": statistics.median(one.wall for one in runs),
                    "cpu": statistics.median(one.cpu for one in runs),
                    "memory": peak_memory(way.prepared(self.options.rounds + 1)),
                }
            )
        first, last = points[0], points[-1]
        slope = math.log(last["wall"] / first["wall"]) / math.log(last["size"] / first["size"])
        self.measured.append({"title": title, "rounds": self.options.rounds, "points": points, "slope": slope})
        print(table(self.measured[-1]), file=sys.stderr, flush=True)

    def add(self, title: str, **figures: float | int | str | bool) -> None:
        """A figure measured otherwise."""
        self.measured.append({"title": title, "figures": figures})
        print(f"{title}: {figures}", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Writes the JSON; 1 where a target was missed."""
        if self.options.json:
            self.options.json.write_text(json.dumps({"tool": self.tool, "measured": self.measured}, indent=2) + "\n")
        self._folder.cleanup()
        sys.exit(1 if self.missed else 0)


def in_units(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def table(measured: dict) -> str:
    """For people, in a terminal."""
    lines = [measured["title"]]
    for row in measured.get("ways", []):
        text = f"  {row['way']:28} {in_units(row['wall']):>10} wall {in_units(row['cpu']):>10} CPU {row['memory'] / 1e6:8.1f} MB"
        if "instructions" in row:
            text += f" {row['instructions'] / 1e6:10.1f} M instructions"
        for key, share in row.get("share", {}).items():
            bound = row["target"].get(key)
            text += f"   {key} ×{share:.3g}" + ("" if bound is None else f" (at most {bound:.3g})")
        lines.append(text + {True: "", False: "   MISSED", None: ""}[row.get("met")])
    for point in measured.get("points", []):
        lines.append(
            f"  {point['size']:>12,} {in_units(point['wall']):>10} wall {in_units(point['cpu']):>10} CPU {point['memory'] / 1e6:8.1f} MB"
        )
    if "slope" in measured:
        lines.append(f"  grows with size^{measured['slope']:.2f}")
    return "\n".join(lines)
