"""Tests in a world of their own, with a commit that nobody has built yet."""

from __future__ import annotations

import contextlib
import unittest

from forge import Forge
from services import FORGE, alone
from story import equip
from world import APPLICATION_FILES, World


class OwnWorld(unittest.TestCase):
    """What such tests begin with."""

    world: World

    @classmethod
    def setUpClass(cls) -> None:
        turn = contextlib.ExitStack()
        cls.addClassCleanup(turn.close)
        turn.enter_context(alone())
        cls.world = World(Forge(FORGE.up()))
        cls.addClassCleanup(cls.world.close)
        cls.world.equip(equip())
        cls.world.two_repositories()
        cls.world.app.fill(APPLICATION_FILES)
        # A tag that no earlier run has pushed: the commit's time is part of its hash.
        cls.world.app.commit("Start")
