"""Stages: what a run shows, how long it took, and the table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class NotShown(Exception):
    """A stage ended without what it was there to show."""


def expect(condition: bool, what: str) -> None:
    """Fails the stage unless the condition holds."""
    if not condition:
        raise NotShown(what)


@dataclass
class Stage:
    """One step of the story."""

    title: str
    seconds: float = 0.0
    shown: bool = False
    seen: list[str] = field(default_factory=list)

    def saw(self, what: str) -> None:
        """Notes and prints something that the stage showed."""
        self.seen.append(what)
        print(f"    {what}", file=sys.stderr, flush=True)


class Telling:
    """The stages told so far."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self._start = time.monotonic()

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Runs one stage; an exception marks it as not shown and goes on its way."""
        stage = Stage(title)
        self.stages.append(stage)
        at = time.monotonic() - self._start
        print(f"\n== {len(self.stages)}. {title}  (at {clock(at)})", file=sys.stderr, flush=True)
        begin = time.monotonic()
        try:
            yield stage
            stage.shown = True
        except NotShown as reason:
            stage.saw(f"NOT SHOWN: {reason}")
            raise
        finally:
            stage.seconds = time.monotonic() - begin

    def table(self) -> str:
        """The stages, their times and whether each showed what it should."""
        width = max((len(stage.title) for stage in self.stages), default=0)
        rows = [
            f"{number:3}  {stage.title:<{width}}  {stage.seconds:8.1f} s  {'shown' if stage.shown else 'NOT SHOWN'}"
            for number, stage in enumerate(self.stages, start=1)
        ]
        return "\n".join([*rows, f"     {'in all':<{width}}  {time.monotonic() - self._start:8.1f} s"])


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def wait_until(seconds: float, what: str, condition, every: float = 0.2):
    """The first true answer of `condition` within the time, or a stage that showed nothing."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise NotShown(f"after {seconds:.0f} s still not: {what}")
        time.sleep(every)
