"""What the examples talk about: a project with coverage reports, images and manifests, on real servers.

`registry.test`, `gitlab.test` and the cluster's contexts are those of the test's services; `4b1c9e2` is the commit that is
checked out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "pipeline"), str(ROOT / "scripts" / "benchmarks")]

from peers import python
from services import ENGINE, REGISTRY, Service
from workshop import base_image, build_tools
from world import APPLICATION_FILES, MANIFEST_FILES

GIT = Service("git-ssh")
CONTROL_PLANE = Service("cluster")
COVERAGE = "coverage==7.17.3"
TOOLS = cache(build_tools)
AUTHOR = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "nobody"), ("EMAIL", "nobody@example.invalid"))
}

RATES = "def rate(days):\n    if days > 30:\n        return 2\n    return 1\n"
MORE = "\n\ndef total(days):\n    return days * rate(days)\n"
CHECK = "from app.billing import rates\n\nassert rates.rate(1) + rates.rate(31) == 3\n"
CHECK_MORE = "assert rates.total(2) == 2\n"

COUNTERS = '<counter type="BRANCH" missed="0" covered="2"/><counter type="LINE" missed="0" covered="1"/>'
JACOCO = (
    '<report name="app"><package name="app"><sourcefile name="App.java"><line nr="1" mi="0" ci="4" mb="0" cb="2"/>'
    f"{COUNTERS}</sourcefile>{COUNTERS}</package>{COUNTERS}</report>\n"
)

# What has an image, in the words of the examples: `web` of the name that the examples push, and `app` of another.
WORKLOADS = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      containers:
        - name: web
          image: registry.test/team/app:1
        - name: app
          image: app:1
"""
SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  greeting: Hello\n"
# In the place of helm, which is in no package registry as a program: the charts here have nothing to fill in.
HELM = '#!/bin/sh\nfor word in "$@"; do [ ! -d "$word/templates" ] || cat "$word"/templates/*; done\n'
# In the place of a BuildKit, which Debian's engine has none of: the archive that one would have made.
DOCKER = '#!/bin/sh\n[ "$1" != buildx ] || exec cat "$OCI_ARCHIVE"\nexec "$CLIENT" "$@"\n'


class Scene:
    """A project's folder, the commands that a reader of a page has, and what the page's names stand for."""

    def __init__(self) -> None:
        self._holder = tempfile.TemporaryDirectory(prefix="gitops-steps-docs-")
        self.folder = Path(self._holder.name) / "project"
        self.folder.mkdir()
        self.bin = Path(self._holder.name) / "bin"
        self.bin.mkdir()
        # Of this run alone, on servers that others use too.
        self.name = f"docs-{uuid.uuid4().hex[:8]}"
        self.variables = {
            "PATH": f"{self.bin}:{TOOLS()}:{os.environ['PATH']}",
            "HOME": self._holder.name,
            "GIT_CONFIG_NOSYSTEM": "1",
            **AUTHOR,
        }
        self.replaced: dict[str, str] = {}

    def close(self) -> None:
        """Removes the folder."""
        self._holder.cleanup()

    def program(self, name: str, text: str) -> None:
        """A command of the reader's."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        """A file of the project's."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def in_terms(self, text: str) -> str:
        """A document's words with what its names stand for."""
        for name, meaning in self.replaced.items():
            text = text.replace(name, meaning)
        return text

    def run(self, script: str, folder: Path | None = None) -> subprocess.CompletedProcess:
        """Runs a script in the project's folder, or in another."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-uc", script],
            cwd=folder or self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def must(self, script: str, folder: Path | None = None) -> str:
        """Runs a script that has to succeed; returns its stdout."""
        done = self.run(script, folder)
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout.strip()

    def commit(self, message: str) -> None:
        """Commits everything."""
        self.must(f"git add -A && git commit -q -m '{message}'")
        self.replaced["4b1c9e2"] = self.must("git rev-parse --short HEAD")

    def project(self) -> None:
        """The application: a repository with two branches, tests that cover all of it, and the reports."""
        self.must("git init -q -b main")
        self.write(".gitignore", "*.info\n*.json\n*.xml\nhtmlcov\ntarget\n.coverage\n")
        self.write("app/billing/rates.py", RATES)
        self.write("check.py", CHECK)
        self.write("services/api/app.py", "pass\n")
        self.write("Dockerfile", "FROM scratch\nCOPY app /app\n")
        self.commit("Start")
        self._measure()
        shutil.move(self.folder / "coverage.json", self.folder / "main.json")
        self.must("git update-ref refs/remotes/origin/main main && git checkout -q -b topic")
        self.write("app/billing/rates.py", RATES + MORE)
        self.write("check.py", CHECK + CHECK_MORE)
        self.commit("Bill by the day")
        self._measure()
        for name in ("unit.info", "integration.xml"):
            source = "lcov.info" if name.endswith("info") else "coverage.xml"
            shutil.copy(self.folder / source, self.folder / name)
        self.write("target/site/jacoco/jacoco.xml", JACOCO)

    def _measure(self) -> None:
        coverage = python(COVERAGE) / "coverage"
        reports = " && ".join(f"{coverage} {kind} -q" for kind in ("html", "xml", "json", "lcov -o lcov.info"))
        self.must(f"rm -f .coverage && PYTHONPATH=. {coverage} run --branch --source=app check.py && {reports}")

    def images(self) -> None:
        """An engine with the project's image, a registry, and the image of another commit as an OCI layout and archive."""
        engine = ENGINE.up()
        registry = REGISTRY.up()
        self.variables.update({key: value for key, value in engine.items() if key.startswith("DOCKER_")})
        self.variables["IMGPUSH_USERNAME"] = registry["REGISTRY_USER"]
        self.variables["IMGPUSH_PASSWORD"] = registry["REGISTRY_PASSWORD"]
        self.variables["IMGPUSH_CA_FILE"] = registry["REGISTRY_CA"]
        self.variables["CLIENT"] = engine["DOCKER"]
        self.variables["OCI_ARCHIVE"] = str(self.folder.parent / "image.tar")
        self.program("docker", DOCKER)
        host = f"{registry['REGISTRY']}/{self.name}"
        self.replaced.update({"registry.test/": f"{host}/", "registry.example.com/": f"{host}/"})
        self.variables["IMAGE"] = f"{host}/team/app"
        self.variables["tag"] = self.replaced["4b1c9e2"]
        self.replaced["docker save app:v1"] = f"docker save {self.name}:v1"
        self.must(f"docker build -q -t {self.name}:v1 .")
        for tag in ("v1", "$tag"):
            self.must(f"docker tag {self.name}:v1 $IMAGE:{tag}")
        self.must(
            f"{sys.executable} -B {ROOT}/scripts/packaging/image.py --name app:v1 --platform linux/amd64=services $OCI_ARCHIVE"
            " && mkdir DIR && tar -xf $OCI_ARCHIVE -C DIR && rm DIR/manifest.json"
        )

    def forget_images(self) -> None:
        """Takes the engine's names of this run away."""
        self.run(
            "docker image ls --format '{{.Repository}}:{{.Tag}}' | grep " + self.name + " | xargs -r docker image rm"
        )

    def manifests(self) -> None:
        """Manifests before and after a change of an image, and a chart."""
        for name in (
            "deployment.yml",
            "deployment.yml.tmpl",
            "manifests/deployment.yml",
            "manifests-before/deployment.yml",
        ):
            self.write(name, self.in_terms(WORKLOADS))
        self.write("manifests-after/deployment.yml", self.in_terms(WORKLOADS.replace("app:1", "app:2")))
        self.write("chart/Chart.yaml", "apiVersion: v2\nname: app\nversion: 0.1.0\n")
        self.write("chart/templates/settings.yaml", SETTINGS)

    def forge(self) -> Path:
        """A Git server with the manifests, on the branches main and demo; returns a clone's folder."""
        git = GIT.up()
        repository = f"{self.name}/manifests"
        GIT.call("create-repository", repository, "main")
        url = f"{git['GIT_SSH_URL']}/{repository}.git"
        self.variables.update({"SSH_PRIVATE_KEY": git["GIT_SSH_KEY"], "SSH_KNOWN_HOSTS": git["GIT_SSH_KNOWN_HOSTS"]})
        self.variables["GIT_SSH_COMMAND"] = (
            f"ssh -F none -i {git['GIT_SSH_KEY']} -o IdentitiesOnly=yes -o UserKnownHostsFile={git['GIT_SSH_KNOWN_HOSTS']}"
        )
        self.variables["MANIFESTS"] = url
        for host in ("gitlab.test", "git.test"):
            self.replaced[f"git@{host}:team/manifests.git"] = url
        clone = self.folder.parent / "manifests"
        (clone / "manifests").mkdir(parents=True)
        # What the README's pipeline fills in; the rest of those manifests has names that others on the cluster may use.
        shutil.copy(MANIFEST_FILES / "manifests" / "deployment.yml.tmpl", clone / "manifests")
        (clone / "manifests" / "deployment.yml").write_text(self.in_terms(WORKLOADS))
        (clone / "app").mkdir()
        (clone / "app" / "settings.yml").write_text(SETTINGS)
        (clone / "version").write_text("1\n")
        (clone / "bump.sh").write_text("#!/bin/sh\necho 2 > version\n")
        self.must(
            "chmod +x bump.sh && git init -q -b main && git add -A && git commit -q -m Start"
            f" && git remote add origin {url} && git push -q origin main main:demo",
            clone,
        )
        return clone

    def application(self) -> Path:
        """The application of the README's pipeline, and what it starts from; returns its folder."""
        folder = self.folder.parent / "hello-python"
        shutil.copytree(APPLICATION_FILES, folder)
        self.must("git init -q -b main && git add -A && git commit -q -m Start", folder)
        # In the words of the Dockerfile's default.
        self.must(f"docker tag {base_image()} python:3.13-slim")
        self.variables["IMAGE"] = self.in_terms("registry.test/hello-python")
        return folder

    def requests(self) -> list[dict]:
        """The merge requests on the manifests."""
        return json.loads(GIT.call("requests", f"{self.name}/manifests"))

    def cluster(self) -> None:
        """An API server with two namespaces of this run, and contexts for two more."""
        os.environ["CLUSTER_NODES"] = "0"
        try:
            cluster = CONTROL_PLANE.up()
        finally:
            del os.environ["CLUSTER_NODES"]
        self.bin.joinpath("kubectl").symlink_to(cluster["KUBECTL"])
        self.program("helm", HELM)
        config = self.folder.parent / "kubeconfig"
        shutil.copy(cluster["KUBECONFIG"], config)
        self.variables["KUBECONFIG"] = str(config)
        for name in ("app", "hello"):
            self.must(f"kubectl create namespace {self.name}-{name}")
            self.replaced[f"--dest-namespace {name}"] = f"--dest-namespace {self.name}-{name}"
        self.must(f"kubectl config set-context --current --namespace={self.name}-app")
        user = self.must(
            "kubectl config view --minify -o jsonpath='{.contexts[0].context.cluster} --user={.contexts[0].context.user}'"
        )
        for name in ("blue", "green"):
            self.must(f"kubectl config set-context {name} --namespace={self.name}-{name} --cluster={user}")

    def forget_namespaces(self) -> None:
        """Takes the cluster's namespaces of this run away, without waiting for it."""
        names = " ".join(f"{self.name}-{name}" for name in ("app", "hello", "blue", "green"))
        self.run(f"kubectl delete namespace --wait=false --ignore-not-found {names}")
