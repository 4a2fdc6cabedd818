"""Each stage's failure stops the pipeline with the tool's own words, and nothing downstream happens.

Run by `scripts/test`, after the story: `python3 -m unittest discover -s tests/pipeline`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from job import Outcome, run
from own_world import OwnWorld
from services import CLUSTER
from story import equip
from world import APPLICATION_FILES, MANIFEST_FILES


def nobody_listens() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PipelineStops(OwnWorld):
    """The application's pipeline.sh with one thing wrong."""

    tag: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.tag = cls.world.tag()

    def variant(self, *replacements: tuple[str, str]) -> Path:
        """The pipeline's script with some of its text replaced."""
        text = (APPLICATION_FILES / "pipeline.sh").read_text()
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        script = self.world.folder / f"{self.id().rsplit('.', 1)[-1]}.sh"
        script.write_text(text)
        return script

    def setUp(self) -> None:
        self.before = self.world.traces_of(self.tag)

    def run_variant(self, script: Path, **changes: str | None) -> Outcome:
        return run(script, self.world.app.folder, self.world.job_environment(**changes))

    def assert_stopped(self, outcome: Outcome, status: int, tool: str, *words: str) -> None:
        """The job ended with the tool's status and an error of the tool that has these words."""
        self.assertEqual(outcome.status, status, outcome.stderr[-2000:])
        self.assertNotIn("/pulls/", outcome.stdout)
        errors = [line for line in outcome.stderr.splitlines() if line.startswith(f"{tool}: error: ")]
        self.assertTrue(errors, outcome.stderr[-2000:])
        for word in words:
            self.assertIn(word, outcome.stderr)

    def assert_nothing_happened(self) -> None:
        """The registry and the forge are as they were."""
        self.assertEqual(self.world.traces_of(self.tag), self.before)

    def assert_no_request(self) -> None:
        """Neither a branch nor a merge request of this commit is on the forge."""
        traces = [trace for trace in self.world.traces_of(self.tag) if "registry" not in trace]
        self.assertEqual(traces, [])

    def test_no_repository_no_image(self) -> None:
        nowhere = self.world.folder / "nowhere"
        nowhere.mkdir()
        outcome = run(self.variant(), nowhere, self.world.job_environment())
        self.assert_stopped(outcome, 2, "imgtag", "nowhere")
        self.assertFalse(outcome.ran("docker"))

    def test_no_report_no_push(self) -> None:
        forgotten = ('docker cp "app-$tag:/app/htmlcov" public', ":")
        outcome = self.run_variant(self.variant(forgotten))
        self.assert_stopped(outcome, 2, "covgate", "public")
        self.assertFalse(outcome.ran("imgpush"))
        self.assert_nothing_happened()

    def test_failing_tests_no_push(self) -> None:
        failing = ('docker exec "app-$tag" pytest', 'docker exec "app-$tag" pytest -k nothing_like_this')
        outcome = self.run_variant(self.variant(failing))
        self.assertEqual(outcome.status, 5, "pytest's own status: no tests ran")
        self.assertFalse(outcome.ran("covgate"))
        self.assert_nothing_happened()

    def test_registry_refuses_no_request(self) -> None:
        outcome = self.run_variant(self.variant(), CI_REGISTRY_PASSWORD="wrong-password")
        self.assert_stopped(outcome, 77, "imgpush", self.world.registry.host, "hint: ")
        self.assertNotIn("wrong-password", outcome.stderr)
        self.assert_nothing_happened()

    def test_registry_down_may_be_tried_again(self) -> None:
        host = f"127.0.0.1:{nobody_listens()}"
        outcome = self.run_variant(self.variant(), IMAGE=f"{host}/hello-python", CI_REGISTRY=host)
        self.assert_stopped(outcome, 75, "imgpush", host)
        self.assert_no_request()

    def test_no_such_container_no_request(self) -> None:
        outcome = self.run_variant(self.variant(("--container hello-python", "--container hello-pithon")))
        self.assert_stopped(outcome, 2, "manifest-patch", "hello-pithon", "hello-python")
        self.assert_no_request()

    def test_forge_down_may_be_tried_again(self) -> None:
        url = f"ssh://git@127.0.0.1:{nobody_listens()}/person/manifests.git"
        outcome = self.run_variant(self.variant(), MANIFESTS=url)
        self.assert_stopped(outcome, 75, "mr-push", "127.0.0.1")
        self.assert_no_request()

    def test_unknown_host_key_no_request(self) -> None:
        empty = self.world.folder / "known_hosts"
        empty.write_text("# nobody\n")
        outcome = self.run_variant(self.variant(), SSH_KNOWN_HOSTS=str(empty))
        self.assert_stopped(outcome, 77, "mr-push", "host key", "hint: ")
        self.assert_no_request()

    def test_missing_target_branch_no_request(self) -> None:
        outcome = self.run_variant(self.variant(("--target demo", "--target demonstration")))
        self.assert_stopped(outcome, 2, "mr-push", "demonstration")
        self.assert_no_request()


class ClusterRefuses(unittest.TestCase):
    """k8s-sync with an account that may not do what the manifests ask."""

    def test_nothing_is_created_without_permission(self) -> None:
        cluster = CLUSTER.up()
        kubectl = [cluster["KUBECTL"], "--kubeconfig", cluster["KUBECONFIG"]]
        token = subprocess.run(
            [*kubectl, "create", "token", "default"], check=True, capture_output=True, text=True
        ).stdout.strip()
        config = json.loads(
            subprocess.run(
                [*kubectl, "config", "view", "--raw", "-o", "json"], check=True, capture_output=True, text=True
            ).stdout
        )
        for entry in config["users"]:
            entry["user"] = {"token": token}
        tools = equip().tools
        home = Path(os.environ.get("TMPDIR", "/tmp"))
        done = subprocess.run(
            [
                str(tools / "k8s-sync"),
                "apply",
                "refused",
                "--dest-namespace",
                "refused",
                "-f",
                str(MANIFEST_FILES / "manifests"),
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": self.write(json.dumps(config))},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("k8s-sync: error: ", done.stderr)
        found = subprocess.run(
            [*kubectl, "get", "namespace", "refused", "--ignore-not-found"], check=True, capture_output=True, text=True
        )
        self.assertEqual(found.stdout, "")

    def write(self, text: str) -> str:
        """A kubeconfig in a file that goes away with the test."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "config"
        file.write_text(text)
        return str(file)


if __name__ == "__main__":
    unittest.main()
