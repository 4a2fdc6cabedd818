"""The .gitlab-ci.yml files of this repository, its documents included, judged without running them.

gitlab-ci-local holds them against GitLab's JSON schema and against the declared inputs. It takes an input that no file
declares, which GitLab refuses; that is looked for here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import project
from services import ROOT

# gitlab-ci-local's own reader of YAML.
READ = "console.log(JSON.stringify(require('js-yaml').loadAll(require('fs').readFileSync(0, 'utf8'))))"


def documents(text: str) -> list[dict]:
    """The documents of a YAML stream."""
    modules = Path(project.RUNNER.variables()["GITLAB_CI_LOCAL"]).parents[1]
    done = subprocess.run(
        ["node", "-e", READ],
        input=text,
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(modules)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def inputs(file: Path) -> dict[str, dict]:
    """The inputs that a file of ours declares."""
    return documents(file.read_text())[0]["spec"]["inputs"]


def examples(document: Path) -> list[str]:
    """The pipelines in a Markdown document: its blocks of YAML that include something."""
    blocks = re.findall(r"^```ya?ml\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "include:" in block]


def undeclared(text: str, ci: Path) -> list[str]:
    """The inputs that a pipeline gives to our files and that they do not declare."""
    found = []
    for include in documents(text)[-1].get("include", []):
        where = next(include[kind] for kind in ("local", "file", "remote", "component") if kind in include)
        file = ci / where.rsplit("/", 1)[-1]
        found += [f"{file.name}: {name}" for name in set(include.get("inputs", {})) - set(inputs(file))]
    return found


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


class FileServer:
    """Serves a folder, as any server of files would."""

    def __init__(self, folder: Path) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def serving(self, text: str) -> str:
        """A pipeline that includes from here what it would include from a GitLab server by `remote`."""
        return re.sub(r"https://\S+/-/raw/main/", f"http://127.0.0.1:{self._server.server_port}/", text)


class Desk:
    """A clone of a project with our files below ci/, where a pipeline is looked at."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.ci = self.folder / "ci"
        self.ci.mkdir()
        for file in (ROOT / "ci").glob("*.yml"):
            (self.ci / file.name).write_text(file.read_text())
        self._server = FileServer(self.folder)
        self._git("init", "-q", "-b", "main")
        self._git("remote", "add", "origin", "git@gitlab.test:team/app.git")
        self._git("add", "-A")
        self._git("-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid", "commit", "-q", "-m", "Start")

    def close(self) -> None:
        """Removes the clone."""
        self._server.close()
        self._folder.cleanup()

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.folder, check=True)

    def judge(self, text: str) -> str:
        """What is wrong with a pipeline, or nothing."""
        local = self._nearby(text)
        found = undeclared(local, self.ci)
        if found:
            return f"undeclared inputs: {', '.join(found)}"
        done = self._list(local, "--list")
        return "" if done.returncode == 0 else done.stdout + done.stderr

    def jobs(self, text: str) -> dict[str, dict]:
        """A pipeline's jobs by their names, as a commit to the default branch would have them."""
        done = self._list(self._nearby(text), "--list-json")
        return {job["name"]: job for job in json.loads(done.stdout)}

    def _list(self, text: str, option: str) -> subprocess.CompletedProcess:
        (self.folder / ".gitlab-ci.yml").write_text(text)
        return subprocess.run(
            project.RUNNER.command("run", str(self.folder), option), capture_output=True, text=True, check=False
        )

    def _nearby(self, text: str) -> str:
        """The pipeline with what it includes from elsewhere taken from ci/, by `remote` too."""
        local = re.sub(r"- project: .*\n( +)(?:ref: .*\n +)?file:", r"- local:", text)
        return self._server.serving(local)
