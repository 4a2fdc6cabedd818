"""A project on the forge that includes this repository's jobs, and a runner that runs its pipeline."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

from forge import Clone, Forge
from services import ENGINE, FORGE, REGISTRY, ROOT, Service
from workshop import build_tools
from world import APPLICATION, APPLICATION_FILES, Registry, World

RUNNER = Service("gitlab-runner")
TOOLS_IMAGE = "gitops-steps:test"
STEPS = "gitops-steps"


def distribution(folder: Path) -> None:
    """What scripts/dist makes of this machine's tools."""
    subprocess.run(
        [ROOT / "scripts" / "dist", "--machine", platform.machine(), "--binaries", build_tools(), "--out", folder],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@cache
def load_tools_image() -> None:
    """Loads the image that jobs find the tools in into the engine, under the name that it has here."""
    engine = ENGINE.variables()
    docker = [engine["DOCKER"]]
    environment = {**os.environ, **engine}
    with tempfile.TemporaryDirectory() as folder:
        distribution(Path(folder))
        archive = next(Path(folder).glob("*-image.tar"))
        said = subprocess.run(
            [*docker, "load", "--quiet", "--input", archive],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
    # An engine that knew another image by this name says so first.
    name = said.stdout.rpartition("Loaded image: ")[2].strip()
    subprocess.run([*docker, "tag", name, TOOLS_IMAGE], check=True, env=environment)


@dataclass(frozen=True)
class Run:
    """How a pipeline ended, and all that it printed."""

    status: int
    text: str

    def passed(self) -> set[str]:
        """The jobs that the report at the end calls passed."""
        return set(re.findall(r"^ PASS +(\S+)", self.text, re.MULTILINE))

    def failed(self) -> set[str]:
        """The jobs that it calls failed."""
        return set(re.findall(r"^ FAIL +(\S+)", self.text, re.MULTILINE))

    def said_by(self, job: str) -> list[str]:
        """The lines that a job's script printed."""
        return re.findall(rf"^{re.escape(job)} +> (.*)$", self.text, re.MULTILINE)

    def variable(self, job: str, name: str) -> str:
        """The value in a line NAME=VALUE that a job printed."""
        return next(line for line in self.said_by(job) if line.startswith(f"{name}=")).partition("=")[2]


class Project:
    """The application and its manifests on the forge, and beside them the repository whose jobs they include."""

    def __init__(self) -> None:
        ENGINE.up()
        self.forge = Forge(FORGE.up())
        self.registry = Registry(REGISTRY.up())
        RUNNER.up()
        load_tools_image()
        self.world = World(self.forge)
        self.world.registry = self.registry
        self.world.two_repositories()
        self.world.app.fill(APPLICATION_FILES)
        self._publish_steps()

    def close(self) -> None:
        """Removes the clones."""
        self.world.close()

    def _publish_steps(self) -> None:
        """The jobs in a repository of their own that everybody may read."""
        url = self.forge.new_repository(STEPS, "main")
        self.forge.api(self.forge.person, "PATCH", f"/repos/{self.forge.person.name}/{STEPS}", {"private": False})
        clone = Clone(self.world.folder / STEPS, url, self.forge, self.forge.person)
        (clone.folder / "ci").mkdir()
        for file in (ROOT / "ci").glob("*.yml"):
            (clone.folder / "ci" / file.name).write_bytes(file.read_bytes())
        clone.commit("Offer the jobs")

    def commit(self, message: str) -> str:
        """Commits and pushes the application; returns the commit's id."""
        commit = self.world.app.commit(message)
        git = self.world.app.git
        # gitlab-ci-local takes GitLab's address from a remote of this name.
        if "gcl-origin" not in git("remote"):
            git("remote", "add", "gcl-origin", f"{self.forge.url}/{self.forge.person.name}/{APPLICATION}.git")
            git("fetch", "-q", "origin")
            git("remote", "set-head", "origin", "main")
        return commit

    def of_gitlab(self) -> dict[str, str]:
        """What GitLab would set by itself. The forge is not GitLab, so the server has another name."""
        return {
            "CI_SERVER_HOST": "gitlab.test",
            "CI_REGISTRY": self.registry.host,
            "CI_REGISTRY_IMAGE": self.world.image,
            "CI_REGISTRY_USER": self.registry.user,
            "CI_REGISTRY_PASSWORD": self.registry.password,
            # What a job would trust by the runner's configuration.
            "IMGPUSH_CA_FILE": str(self.registry.ca),
        }

    def of_user(self) -> dict[str, str]:
        """The four variables that a user of the jobs sets."""
        return {
            "GITOPS_STEPS_IMAGE": TOOLS_IMAGE,
            "MANIFESTS": self.world.manifests_url,
            "SSH_PRIVATE_KEY": str(self.forge.bot.key),
            "SSH_KNOWN_HOSTS": str(self.forge.known_hosts),
        }

    def run(self, *arguments: str, **changes: str) -> Run:
        """Runs the pipeline of the commit that is checked out; a value that is a path is a variable of type file."""
        folder = self.world.app.folder
        variables = {**self.of_gitlab(), **self.of_user(), **changes}
        (folder / ".gitlab-ci-local-variables.yml").write_text(json.dumps(variables))
        done = subprocess.run(
            RUNNER.command("run", str(folder), "--ignore-predefined-vars", ",".join(self.of_gitlab()), *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)
