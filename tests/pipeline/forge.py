"""The Git forge as its users see it: repositories, merge requests, clones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from services import ROOT, ServiceError


@dataclass(frozen=True)
class User:
    """Somebody with an account: the pipeline's robot, or a person."""

    name: str
    token: str
    key: Path


class Forge:
    """A Gitea, spoken to over its API and over SSH."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.url = variables["FORGE_URL"].rstrip("/")
        self.ssh = variables["FORGE_SSH"].rstrip("/")
        self.known_hosts = Path(variables["FORGE_KNOWN_HOSTS"])
        self.bot = user(variables, "BOT")
        self.person = user(variables, "PERSON")

    def api(self, who: User, method: str, path: str, body: dict | None = None):
        """The answer to an API request, or None where there is no such thing (404)."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {who.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
                return json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise ServiceError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error

    def full_name(self, name: str) -> str:
        """OWNER/NAME; a repository that is named without its owner is the person's."""
        return name if "/" in name else f"{self.person.name}/{name}"

    def new_organization(self, name: str) -> None:
        """An organization of the person's, if it is not there."""
        if self.api(self.person, "GET", f"/orgs/{name}") is None:
            self.api(self.person, "POST", "/orgs", {"username": name})

    def new_repository(self, name: str, default_branch: str) -> str:
        """An empty repository that the robot may write to; replaces an older one."""
        full_name = self.full_name(name)
        owner, _, short = full_name.partition("/")
        place = "/user/repos" if owner == self.person.name else f"/orgs/{owner}/repos"
        self.api(self.person, "DELETE", f"/repos/{full_name}")
        self.api(self.person, "POST", place, {"name": short, "private": True, "default_branch": default_branch})
        self.api(self.person, "PUT", f"/repos/{full_name}/collaborators/{self.bot.name}", {"permission": "write"})
        return f"{self.ssh}/{full_name}.git"

    def merge_requests(self, name: str, state: str = "open") -> list[dict]:
        """The repository's merge requests (Gitea calls them pull requests)."""
        return self.api(self.person, "GET", f"/repos/{self.full_name(name)}/pulls?state={state}") or []

    def branches(self, name: str) -> set[str]:
        """The names of the repository's branches."""
        found = self.api(self.person, "GET", f"/repos/{self.full_name(name)}/branches?limit=50") or []
        return {branch["name"] for branch in found}

    def merge(self, name: str, url: str) -> None:
        """Merges a request, as the person who read it."""
        number = url.rstrip("/").rsplit("/", 1)[-1]
        subprocess.run(
            [str(ROOT / "scripts" / "services" / "forge"), "merge", self.full_name(name), number],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def ssh_command(self, who: User) -> str:
        """The ssh of a user who knows the forge's host key and nothing else."""
        return (
            f"ssh -F none -i {who.key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes"
            f" -o UserKnownHostsFile={self.known_hosts} -o GlobalKnownHostsFile=none"
        )


def user(variables: dict[str, str], role: str) -> User:
    """The user that the forge's variables describe."""
    return User(variables[f"FORGE_{role}_USER"], variables[f"FORGE_{role}_TOKEN"], Path(variables[f"FORGE_{role}_KEY"]))


class Clone:
    """A user's clone of a repository."""

    def __init__(self, folder: Path, url: str, forge: Forge, who: User) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": forge.ssh_command(who),
            "GIT_AUTHOR_NAME": who.name,
            "GIT_AUTHOR_EMAIL": f"{who.name}@example.invalid",
            "GIT_COMMITTER_NAME": who.name,
            "GIT_COMMITTER_EMAIL": f"{who.name}@example.invalid",
        }
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", url)

    def git(self, *words: str) -> str:
        """Runs git in the clone; returns its stdout."""
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ServiceError(f"git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def fill(self, source: Path) -> None:
        """Copies a folder's files into the work tree."""
        ignore = shutil.ignore_patterns("__pycache__", "public", "htmlcov", ".coverage")
        shutil.copytree(source, self.folder, dirs_exist_ok=True, ignore=ignore)

    def commit(self, message: str) -> str:
        """Commits the work tree and pushes the branch; returns the commit's id."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def pull(self) -> None:
        """Takes what others pushed to this branch."""
        self.git("pull", "-q", "--ff-only", "origin", self.git("symbolic-ref", "--short", "HEAD"))
