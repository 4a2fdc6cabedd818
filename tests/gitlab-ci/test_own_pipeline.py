"""This repository's own pipeline, from what `dist` leaves: the tools' image is published, and hello-python goes its way in
that image.

`check` and `dist` are not run: the one is all tests, and the other builds for minutes what is made here of the tools that
are there.
"""

from __future__ import annotations

import shutil
import unittest

from project import APPLICATION, MANIFESTS, Project, distribution, docker
from services import ROOT, Service

PIPELINE = ROOT / ".gitlab-ci.yml"
RUST = "image: rust:1.95-trixie"
# Where the manifests of hello-python are on GitLab.
ON_GITLAB = "git@$CI_SERVER_HOST:$CI_PROJECT_NAMESPACE/hello-python-manifests.git"
EXAMPLE = "tests/hello-python"


class OwnPipeline(unittest.TestCase):
    """One commit to the default branch."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.project = Project()
        cls.addClassCleanup(cls.project.close)
        folder = cls.project.app.folder
        for part in ("ci", EXAMPLE):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "public"))
        cls.pipeline = PIPELINE.read_text().replace(ON_GITLAB, "$MANIFESTS")
        (folder / ".gitlab-ci.yml").write_text(cls.pipeline)
        cls.commit = cls.project.commit("Start")
        # Where the runner keeps what a job has left.
        shutil.copytree(distribution(), folder / ".gitlab-ci-local" / "artifacts" / "dist" / "dist")

    def test_the_image_is_published_and_used(self) -> None:
        self.assertIn(RUST, self.pipeline)
        self.assertIn("$MANIFESTS", self.pipeline)
        # Of Rust's image the job uses what any Debian has.
        docker("tag", Service("base-image").up()["BASE_IMAGE"], RUST.split()[-1])
        published = self.project.run(self.pipeline, "publish")
        self.assertEqual(published.passed(), {"publish"}, published.text[-3000:])
        tags = self.project.registry.tags(APPLICATION)
        self.assertLessEqual({"latest", self.commit[:8]}, set(tags))
        self.assertEqual(tags["latest"], tags[self.commit[:8]])

        registry = self.project.registry
        logged_in = ("--config", self.project.folder / "login")
        docker(*logged_in, "login", "--username", registry.user, "--password-stdin", registry.host, stdin=registry.password)
        image = f"{self.project.image}:latest"
        docker(*logged_in, "pull", "--quiet", image)
        self.addCleanup(docker, "rmi", image)
        jobs = ("build", "test", "gate", "push", "deploy_dev")
        run = self.project.run(self.pipeline, *jobs)
        self.assertEqual(run.passed(), set(jobs), run.text[-3000:])
        tag = self.commit[:12]
        digest = registry.tags(f"{APPLICATION}/hello-python")[tag]
        request = run.variable("deploy_dev", "MR_URL")
        manifest = self.project.requested(request, "manifests/deployment.yml")
        self.assertIn(f"image: {self.project.image}/hello-python:{tag}@{digest} #", manifest)
        self.assertEqual(self.project.forge.merge_requests(MANIFESTS)[0]["html_url"], request)


if __name__ == "__main__":
    unittest.main()
