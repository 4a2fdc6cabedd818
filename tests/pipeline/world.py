"""The article's world: two repositories, a CI job, a registry and a cluster that pulls."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import job
from forge import Clone, Forge
from services import ROOT, ServiceError

APPLICATION = "hello-python"
MANIFESTS = "hello-python-manifests"
TARGET = "demo"
APPLICATION_FILES = ROOT / "tests" / APPLICATION
MANIFEST_FILES = ROOT / "tests" / MANIFESTS


class Registry:
    """The image registry, asked over its own API."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.host = variables["REGISTRY"]
        self.ca = Path(variables["REGISTRY_CA"])
        self.user = variables["REGISTRY_USER"]
        self.password = variables["REGISTRY_PASSWORD"]

    def tags(self, repository: str) -> dict[str, str]:
        """The repository's tags and the digests they name."""
        listed = self._get(f"/v2/{repository}/tags/list")
        names = (json.loads(listed[1]).get("tags") or []) if listed else []
        digests = {name: self._get(f"/v2/{repository}/manifests/{name}", "HEAD") for name in names}
        return {name: found[0]["Docker-Content-Digest"] for name, found in digests.items() if found}

    def _get(self, path: str, method: str = "GET"):
        login = b64encode(f"{self.user}:{self.password}".encode()).decode()
        accept = ", ".join(
            f"application/vnd.{kind}"
            for kind in (
                "docker.distribution.manifest.v2+json",
                "oci.image.manifest.v1+json",
                "oci.image.index.v1+json",
            )
        )
        request = urllib.request.Request(
            f"https://{self.host}{path}", method=method, headers={"Authorization": f"Basic {login}", "Accept": accept}
        )
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise


@dataclass(frozen=True)
class Equipment:
    """What CI works with."""

    tools: Path
    base_image: str
    engine: dict[str, str]
    registry: Registry


class World:
    """Everything that one telling of the story works on; `close` takes its own things away."""

    def __init__(self, forge: Forge) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gitops-steps-"))
        self.home = self.folder / "home"
        self.home.mkdir()
        self.forge = forge
        self.equipment: Equipment
        self.registry: Registry

    def equip(self, equipment: Equipment) -> None:
        """Gives CI its tools, its engine and its registry."""
        self.equipment = equipment
        self.registry = equipment.registry
        client = equipment.engine.get("DOCKER") or shutil.which("docker")
        if client is None:
            raise ServiceError("there is no docker client on PATH")
        commands = self.folder / "bin"
        commands.mkdir()
        (commands / "docker").symlink_to(client)

    def close(self) -> None:
        """Removes the clones and the job's home."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def image(self) -> str:
        """The repository that the pipeline pushes to."""
        return f"{self.registry.host}/{APPLICATION}"

    def two_repositories(self) -> None:
        """The application and its manifests, each a repository of its own on the forge."""
        who = self.forge.person
        self.app_url = self.forge.new_repository(APPLICATION, "main")
        self.app = Clone(self.folder / APPLICATION, self.app_url, self.forge, who)
        self.manifests_url = self.forge.new_repository(MANIFESTS, "main")
        self.manifests = Clone(self.folder / MANIFESTS, self.manifests_url, self.forge, who)
        self.manifests.fill(MANIFEST_FILES)
        self.manifests.commit("Describe what runs in the cluster")
        # Merge requests go to the branch that the cluster follows.
        self.manifests.git("checkout", "-q", "-b", TARGET)
        self.manifests.git("push", "-q", "origin", TARGET)

    def job_environment(self, **changes: str | None) -> dict[str, str]:
        """What a GitLab runner would give the job; a change to None takes a variable away."""
        variables = {
            "PATH": f"{self.folder / 'bin'}:{self.equipment.tools}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "CI": "true",
            "IMAGE": self.image,
            "MANIFESTS": self.manifests_url,
            "BASE_IMAGE": self.equipment.base_image,
            "CI_REGISTRY": self.registry.host,
            "CI_REGISTRY_USER": self.registry.user,
            "CI_REGISTRY_PASSWORD": self.registry.password,
            "IMGPUSH_CA_FILE": str(self.registry.ca),
            "SSH_PRIVATE_KEY": str(self.forge.bot.key),
            "SSH_KNOWN_HOSTS": str(self.forge.known_hosts),
            "MR_PUSH_TOKEN": self.forge.bot.token,
            "MR_PUSH_API_URL": f"{self.forge.url}/api/v1",
            "GITLAB_USER_NAME": self.forge.bot.name,
            "GITLAB_USER_EMAIL": f"{self.forge.bot.name}@example.invalid",
            **{name: value for name, value in self.equipment.engine.items() if name.startswith("DOCKER_")},
            **changes,
        }
        return {name: value for name, value in variables.items() if value is not None}

    def run_pipeline(self, show: bool = False, **changes: str | None) -> job.Outcome:
        """Runs the application's pipeline.sh on the commit that is checked out."""
        return job.run(self.app.folder / "pipeline.sh", self.app.folder, self.job_environment(**changes), show)

    def tool(self, *words: str, document: str | None = None) -> str:
        """Runs one of the tools in the job's environment; returns its stdout."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.job_environment(),
            input=document,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def docker(self, *words: str) -> str:
        """Runs the engine's client."""
        return self.tool("docker", *words)

    def tag(self) -> str:
        """The tag of the application's commit, as the pipeline computes it."""
        return self.tool("imgtag", "-C", str(self.app.folder))

    def traces_of(self, tag: str) -> list[str]:
        """What the pipeline has left outside for this tag: in the registry and on the forge."""
        found = []
        if tag in self.registry.tags(APPLICATION):
            found.append(f"the image {APPLICATION}:{tag} in the registry")
        if f"argocd/{tag}" in self.forge.branches(MANIFESTS):
            found.append(f"the branch argocd/{tag} of the manifests")
        requests = self.forge.merge_requests(MANIFESTS, "all")
        found += [request["html_url"] for request in requests if tag in request["title"]]
        return found
