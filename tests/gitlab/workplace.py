"""A project and somebody's clone of it, for the tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import project

URL = "https://gitlab.example.invalid"
IDENTITY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.invalid"}
HERMETIC = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    **IDENTITY,
    **{key.replace("AUTHOR", "COMMITTER"): value for key, value in IDENTITY.items()},
}


class Workplace(unittest.TestCase):
    """Each test has the project `group/app`, whose branch `main` has one commit."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.root = self.folder / "root"
        self.repository = project.create(self.root, "group/app", URL).repository
        self.clone = self.folder / "clone"
        self.git("init", "-q", "-b", "main", self.clone)
        self.commit("One", "one\n")
        self.push("main")

    def git(self, *words, check: bool = True, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        """Runs git in the clone."""
        return subprocess.run(
            ["git", *words],
            cwd=self.clone if self.clone.exists() else self.folder,
            env={**HERMETIC, "HOME": str(self.folder), **(environment or {})},
            check=check,
            capture_output=True,
            text=True,
        )

    def commit(self, message: str, content: str) -> str:
        """A commit on the current branch; its id."""
        (self.clone / "file").write_text(content, encoding="utf-8")
        self.git("add", "file")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, *refs: str, options: list[str] = (), url: str | None = None, check: bool = True):
        """Pushes refs with options; the finished process."""
        given = [f"--push-option={option}" for option in options]
        return self.git("push", *given, url or str(self.repository), *refs, check=check)

    def set(self, key: str, *values: str) -> None:
        """Sets a key of the repository's configuration."""
        for value in values:
            self.git("config", "--file", self.repository / "config", "--add", key, value)

    def records(self) -> dict:
        """What the hook has kept."""
        with project.Project(self.repository).records() as records:
            return records

    def requests(self) -> list[dict]:
        """The merge requests there are."""
        return self.records()["requests"]
