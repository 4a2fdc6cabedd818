"""A project: a bare repository, its settings, and its merge requests in a JSON file beside it.

Settings are keys of the repository's git configuration (`git config --file NAME.git/config gitlab.banner TEXT`):

    gitlab.url              the project's web address
    gitlab.user             who pushes; empty: a deploy key without an owner
    gitlab.version          17.10 knows no `auto_merge`, 17.1 no `squash` either; default 18.5
    gitlab.access           false: the user may push but not make merge requests
    gitlab.mergeRequests    false: the project has none
    gitlab.link             false: "printing merge request link" is off
    gitlab.fault            true: each merge request of a push meets an unknown error
    gitlab.banner           a broadcast message's text
    gitlab.milestone        a milestone there is (repeatable); another one's name is ignored
    gitlab.member           a name that can be assigned (repeatable); without any, every name can
    gitlab.protectedBranch  a pattern of branches nobody may push to (repeatable)
    gitlab.refuse           a text with which every push is refused before anything changes
    gitlab.slowHook         milliseconds that the post-receive hook takes before it answers
    gitlab.chunk            the answer is sent in pieces of so many bytes
    gitlab.mergeableAfter   milliseconds for which a new merge request can't be merged
    gitlab.unmoved          ignore: a push that moves no branch is not seen by the hooks
    gitlab.expired          true: the token has expired, for Git over HTTP and the API of this project

What a Gitaly sets is set by `create`, and may be changed: receive.advertisePushOptions, uploadpack.allowFilter,
uploadpack.allowAnySHA1InWant.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# internal/git/gitcmd/command_description.go; http.receivepack is for git's own http-backend.
GITALY_CONFIGURATION = {
    "core.logAllRefUpdates": "false",
    "receive.advertisePushOptions": "true",
    "receive.fsckObjects": "true",
    "receive.autogc": "false",
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "http.receivepack": "true",
}


class Project:
    """One repository under the root folder."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository.resolve()
        self.settings: dict[str, list[str]] = {}
        listed = self.git("config", "--null", "--list").stdout
        for entry in listed.rstrip("\0").split("\0"):
            key, _, value = entry.partition("\n")
            if key.startswith("gitlab."):
                self.settings.setdefault(key[len("gitlab.") :], []).append(value)

    def setting(self, name: str, default: str) -> str:
        """The last value of `gitlab.NAME`."""
        return self.every(name)[-1] if self.every(name) else default

    def every(self, name: str) -> list[str]:
        """All values of `gitlab.NAME`."""
        return self.settings.get(name.lower(), [])

    def off(self, name: str) -> bool:
        """Whether the setting is there and says false."""
        return self.setting(name, "true") == "false"

    @property
    def path(self) -> str:
        """The full path, as in messages: `group/name`."""
        return self.setting("path", self.repository.stem)

    @property
    def url(self) -> str:
        """The web address."""
        return self.setting("url", f"https://gitlab.example.invalid/{self.path}")

    @property
    def user(self) -> str:
        """The name of who pushes."""
        return self.setting("user", "robot")

    @property
    def version(self) -> tuple[int, int]:
        """The GitLab version that is played."""
        major, minor = self.setting("version", "18.5").split(".")[:2]
        return int(major), int(minor)

    @property
    def default_branch(self) -> str:
        """The branch that HEAD names."""
        return self.git("symbolic-ref", "--short", "HEAD").stdout.strip()

    def git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        """Runs git in the repository."""
        return subprocess.run(
            ["git", f"--git-dir={self.repository}", *words], check=check, capture_output=True, text=True
        )

    def branch(self, name: str) -> str | None:
        """The commit that a branch is at."""
        found = self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{name}^{{commit}}", check=False)
        return found.stdout.strip() or None

    @contextlib.contextmanager
    def records(self) -> Iterator[dict]:
        """What is kept: `requests`, and `pushes` with each push's changes and options. Saved at the end, if changed."""
        kept = self.repository.with_suffix(".requests.json")
        with open(kept.with_suffix(".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = kept.read_text(encoding="utf-8") if kept.exists() else '{"requests": [], "pushes": []}'
            records = json.loads(before)
            yield records
            after = json.dumps(records, indent=1)
            if after != before:
                new = kept.with_suffix(".new")
                new.write_text(after, encoding="utf-8")
                os.replace(new, kept)


def create(root: Path, name: str, url: str, default_branch: str = "main") -> Project:
    """The repository `root/NAME.git` with GitLab's hooks in it; of one that is there, what it holds stays."""
    repository = root / f"{name}.git"
    if not repository.exists():
        new = repository.with_suffix(".new")
        subprocess.run(["git", "init", "-q", "--bare", f"--initial-branch={default_branch}", new], check=True)
        for key, value in {**GITALY_CONFIGURATION, "gitlab.path": name}.items():
            subprocess.run(["git", f"--git-dir={new}", "config", key, value], check=True)
        new.rename(repository)
    # Python takes its time to start, and most projects refuse nothing.
    refuses = "git config --get-regexp '^gitlab\\.(protectedbranch|refuse)$' >/dev/null || exit 0\n"
    for hook, first in (("pre-receive", refuses), ("post-receive", "")):
        program = repository / "hooks" / hook
        program.parent.mkdir(exist_ok=True)
        run = f'exec "{sys.executable}" -B "{Path(__file__).with_name("hook.py")}" {hook}\n'
        program.write_text(f"#!/bin/sh\n{first}{run}")
        program.chmod(0o755)
    subprocess.run(["git", f"--git-dir={repository}", "config", "gitlab.url", f"{url}/{name}"], check=True)
    return Project(repository)
