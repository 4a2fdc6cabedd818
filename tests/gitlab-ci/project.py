"""A project on the forge that includes this repository's jobs, and a runner that runs its pipeline."""

from __future__ import annotations

import atexit
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pipeline"))

from forge import Clone, Forge
from services import ENGINE, FORGE, REGISTRY, ROOT, Service, alone
from workshop import build_tools
from world import MANIFEST_FILES, Registry

RUNNER = Service("gitlab-runner")
TOOLS_IMAGE = "gitops-steps:test"
# The name that the documents' examples include.
STEPS = "gitops-steps/gitops-steps"
APPLICATION = "team/hello-python"
MANIFESTS = "team/manifests"
# The manifests' branches, one for each environment's cluster.
BRANCHES = ("demo", "stg", "prd")


def make_distribution(folder: Path) -> None:
    """What scripts/dist makes of this machine's tools."""
    subprocess.run(
        [ROOT / "scripts" / "dist", "--machine", platform.machine(), "--binaries", build_tools(), "--out", folder],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@cache
def distribution() -> Path:
    """A folder with that, made once."""
    holder = tempfile.TemporaryDirectory()
    atexit.register(holder.cleanup)
    folder = Path(holder.name) / "dist"
    make_distribution(folder)
    return folder


def docker(*words: str | Path, stdin: str = "") -> str:
    """Runs the engine's client; returns its stdout."""
    engine = ENGINE.variables()
    environment = {**os.environ, **engine}
    command = [engine["DOCKER"], *words]
    done = subprocess.run(command, input=stdin, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def load_tools_image() -> None:
    """Loads the image that jobs find the tools in into the engine, under the name that it has here."""
    said = docker("load", "--quiet", "--input", next(distribution().glob("*-image.tar")))
    # An engine that knew another image by this name says so first.
    name = said.rpartition("Loaded image: ")[2].strip()
    docker("tag", name, TOOLS_IMAGE)


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

    def failed_without_harm(self) -> set[str]:
        """The jobs that failed and were allowed to."""
        return set(re.findall(r"^ WARN +(\S+) +pre_script", self.text, re.MULTILINE))

    def said_by(self, job: str) -> list[str]:
        """The lines that a job's script printed."""
        return re.findall(rf"^{re.escape(job)} +> (.*)$", self.text, re.MULTILINE)

    def variable(self, job: str, name: str) -> str:
        """The value in a line NAME=VALUE that a job printed."""
        return next(line for line in self.said_by(job) if line.startswith(f"{name}=")).partition("=")[2]


class Project:
    """A user's project and the manifests of it on the forge, beside them the repository whose jobs it includes."""

    def __init__(self) -> None:
        self._turn = ExitStack()
        self._turn.enter_context(alone("gitlab"))
        self.folder = Path(self._turn.enter_context(tempfile.TemporaryDirectory(prefix="gitops-steps-")))
        ENGINE.up()
        self.forge = Forge(FORGE.up())
        self.registry = Registry(REGISTRY.up())
        RUNNER.up()
        load_tools_image()
        self._publish_steps()
        self.manifests_url = self._publish_manifests()
        self.app = self._clone(APPLICATION)

    def close(self) -> None:
        """Removes the clones."""
        self._turn.close()

    def _clone(self, name: str) -> Clone:
        """A clone of a new repository."""
        owner, _, short = name.partition("/")
        self.forge.new_organization(owner)
        return Clone(self.folder / short, self.forge.new_repository(name, "main"), self.forge, self.forge.person)

    def _publish_steps(self) -> None:
        """The jobs in a repository that everybody may read."""
        clone = self._clone(STEPS)
        self.forge.api(self.forge.person, "PATCH", f"/repos/{STEPS}", {"private": False})
        (clone.folder / "ci").mkdir()
        for file in (ROOT / "ci").glob("*.yml"):
            (clone.folder / "ci" / file.name).write_bytes(file.read_bytes())
        clone.commit("Offer the jobs")

    def _publish_manifests(self) -> str:
        """What runs in the cluster, a branch for each environment; returns the repository's URL."""
        self.manifests = self._clone(MANIFESTS)
        self.manifests.fill(MANIFEST_FILES)
        folder = self.manifests.folder / "manifests"
        (folder / "deployment.yml").write_bytes((folder / "deployment.yml.tmpl").read_bytes())
        self.manifests.commit("Describe what runs in the cluster")
        for branch in BRANCHES:
            self.manifests.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        return self.manifests.git("remote", "get-url", "origin")

    @property
    def image(self) -> str:
        """The repository that the pipeline pushes to."""
        return f"{self.registry.host}/{APPLICATION}"

    def commit(self, message: str) -> str:
        """Commits and pushes the application; returns the commit's id."""
        commit = self.app.commit(message)
        # gitlab-ci-local takes GitLab's address from a remote of this name.
        if "gcl-origin" not in self.app.git("remote"):
            self.app.git("remote", "add", "gcl-origin", f"{self.forge.url}/{APPLICATION}.git")
            self.app.git("fetch", "-q", "origin")
            self.app.git("remote", "set-head", "origin", "main")
        return commit

    def request(self, url: str) -> dict:
        """The merge request at a URL."""
        return next(one for one in self.forge.merge_requests(MANIFESTS, "all") if one["html_url"] == url)

    def requested(self, url: str, file: str) -> str:
        """A file of the manifests as the merge request at a URL would leave it."""
        self.manifests.git("fetch", "-q", "origin", f"refs/pull/{self.request(url)['number']}/head")
        return self.manifests.git("show", f"FETCH_HEAD:{file}")

    def of_gitlab(self) -> dict[str, str]:
        """What GitLab would set by itself. The forge is not GitLab, so the server has another name."""
        return {
            "CI_SERVER_HOST": "gitlab.test",
            "CI_REGISTRY": self.registry.host,
            "CI_REGISTRY_IMAGE": self.image,
            "CI_REGISTRY_USER": self.registry.user,
            "CI_REGISTRY_PASSWORD": self.registry.password,
            # What a job would trust by the runner's configuration.
            "IMGPUSH_CA_FILE": str(self.registry.ca),
        }

    def of_user(self) -> dict[str, str]:
        """The four variables that a user of the jobs sets."""
        return {
            "GITOPS_STEPS_IMAGE": TOOLS_IMAGE,
            "MANIFESTS": self.manifests_url,
            "SSH_PRIVATE_KEY": str(self.forge.bot.key),
            "SSH_KNOWN_HOSTS": str(self.forge.known_hosts),
        }

    def run(self, pipeline: str, *jobs: str, **changes: str | dict) -> Run:
        """Runs a .gitlab-ci.yml, or some of its jobs on what earlier runs left, for the commit that is checked out.

        A variable whose value is a path is one of type file; one that differs between environments is a `scoped`.
        """
        (self.app.folder / ".gitlab-ci.yml").write_text(pipeline)
        # Not in the clone, where the next commit would take it along.
        (self.folder / "variables.yml").write_text(json.dumps({**self.of_gitlab(), **self.of_user(), **changes}))
        given = ["--ignore-predefined-vars", ",".join(self.of_gitlab()), "--variables-file", "../variables.yml"]
        done = subprocess.run(
            RUNNER.command("run", str(self.app.folder), *given, *jobs),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)


def scoped(**values: str) -> dict:
    """A variable of the project that has another value in each of these environments."""
    return {"type": "variable", "values": values}
