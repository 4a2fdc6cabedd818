"""Each command that the documents show does what they say, on real servers.

A page's examples run in its order, in one project's folder, as a reader would type them. The pipelines in the documents
are run and judged in tests/gitlab-ci.

Run by `scripts/test`: `python3 -m unittest discover -s tests/docs`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
import unittest
from pathlib import Path

from examples import Example, of_document, of_page
from scene import ROOT, SETTINGS, Scene

# Where the document says 1, or the page's earlier examples have made it so.
ANSWER_NO = (
    "imgpush --no-clobber",
    "k8s-sync diff app",
    "manifest-patch --check --diff",
)
# What another part of scripts/test runs.
ELSEWHERE = (
    "scripts/demo",
    "scripts/test",
    "imgpush --from oci-archive:dist/",  # tests/gitlab-ci/test_distribution.py
    "tar -xzf dist/",
    "k8s-sync apply app -f manifests/ --decrypt",  # tools/k8s-sync/tests/watch/decryption.rs: a Secret with keys is there
    "k8s-sync application app",  # tools/k8s-sync/tests/watch/application.rs: Argo CD's definition is there
)
# Commands that go on until they are ended.
ENDLESS = "k8s-sync watch"


class Examples(unittest.TestCase):
    """One document a test."""

    application: Path

    def setUp(self) -> None:
        self.scene = Scene()
        self.addCleanup(self.scene.close)

    def try_all(self, found: list[Example]) -> None:
        """Runs the examples in turn."""
        self.assertTrue(found, "the document shows nothing")
        for example in found:
            if example.command.startswith(ELSEWHERE):
                continue
            with self.subTest(example=example.command):
                command = self.scene.in_terms(example.command)
                if command.startswith(ENDLESS):
                    self.try_endless(command)
                else:
                    self.try_one(command, example)

    def try_one(self, command: str, example: Example) -> None:
        """Runs one; its status and, where the document tells it, its stdout are those that the document says."""
        done = self.scene.run(command, self.application if "\n" in command else None)
        expected = 1 if example.command.startswith(ANSWER_NO) else 0
        self.assertEqual(done.returncode, expected, done.stderr)
        if example.printed:
            pattern = re.escape(self.scene.in_terms(example.printed)).replace("…", "[0-9a-f]{64}")
            self.assertRegex(done.stdout, rf"^{pattern}\n$")

    def try_endless(self, command: str) -> None:
        """Runs one until what it is for is there, and ends it."""
        scene = self.scene
        there = f"kubectl get deployment app --namespace {command.partition('--dest-namespace ')[2].partition(' ')[0]}"
        self.assertNotEqual(scene.run(there).returncode, 0, "the deployment is there before")
        log = scene.folder.parent / "watch.log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=scene.folder, env=scene.variables, stdout=stderr, stderr=stderr
            )
            try:
                until = time.monotonic() + 60
                while scene.run(there).returncode:
                    self.assertIsNone(process.poll(), log.read_text())
                    self.assertLess(time.monotonic(), until, log.read_text())
                    time.sleep(0.2)
            finally:
                process.send_signal(signal.SIGTERM)
                status = process.wait(timeout=30)
        self.assertIn(status, (143, -signal.SIGTERM), log.read_text())

    def test_imgtag(self) -> None:
        self.scene.project()
        self.scene.replaced["registry.test/app"] = "registry.test/app"
        self.try_all(of_page(ROOT / "tools" / "imgtag" / "README.md"))

    def test_covgate(self) -> None:
        self.scene.project()
        self.try_all(of_page(ROOT / "tools" / "covgate" / "README.md"))

    def test_imgpush(self) -> None:
        self.scene.project()
        self.scene.images()
        self.addCleanup(self.scene.forget_images)
        self.try_all(of_page(ROOT / "tools" / "imgpush" / "README.md"))

    def test_manifest_patch(self) -> None:
        self.scene.project()
        self.scene.images()
        self.addCleanup(self.scene.forget_images)
        self.scene.manifests()
        self.try_all(of_page(ROOT / "tools" / "manifest-patch" / "README.md"))

    def test_mr_push(self) -> None:
        self.scene.folder = self.scene.forge()
        # The change of the example whose repository is a clone's folder.
        self.scene.write("version", "3\n")
        self.try_all(of_page(ROOT / "tools" / "mr-push" / "README.md"))
        asked = {request["source_branch"]: request["target_branch"] for request in self.scene.requests()}
        self.assertEqual(asked, {"argocd/4b1c9e2": "demo", "tidy": "main", "bump": "main"})

    def test_k8s_sync(self) -> None:
        self.scene.forge()
        self.scene.cluster()
        self.addCleanup(self.scene.forget_namespaces)
        self.scene.manifests()
        # Without a node no deployment would ever be healthy.
        (self.scene.folder / "manifests" / "deployment.yml").write_text(SETTINGS)
        self.try_all(of_page(ROOT / "tools" / "k8s-sync" / "README.md"))

    def test_readme(self) -> None:
        self.scene.project()
        self.scene.images()
        self.addCleanup(self.scene.forget_images)
        self.scene.manifests()
        self.scene.forge()
        self.scene.cluster()
        self.addCleanup(self.scene.forget_namespaces)
        self.application = self.scene.application()
        self.try_all(of_document(ROOT / "README.md"))
        asked = {request["source_branch"]: request["target_branch"] for request in self.scene.requests()}
        tag = self.scene.must("imgtag", self.application)
        self.assertEqual(asked, {f"argocd/{tag}": "demo", "bump": "main"})

    def test_the_pipeline_s_page(self) -> None:
        self.assertEqual(of_document(ROOT / "ci" / "README.md"), [], "commands that nothing runs")


if __name__ == "__main__":
    unittest.main()
