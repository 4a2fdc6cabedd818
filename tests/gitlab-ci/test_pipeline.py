"""hello-python's .gitlab-ci.yml, run job by job in containers, from the commit to the merge request on the forge.

Run by `scripts/test`: `python3 -m unittest discover -s tests/gitlab-ci`.
"""

from __future__ import annotations

import json
import shutil
import unittest
from xml.etree import ElementTree

from project import Project, Run
from world import APPLICATION, MANIFESTS, TARGET

JOBS = {"build", "test", "gate", "pages", "push", "deploy-dev"}


class Pipeline(unittest.TestCase):
    """One commit to the default branch."""

    project: Project
    run_: Run

    @classmethod
    def setUpClass(cls) -> None:
        cls.project = Project()
        cls.addClassCleanup(cls.project.close)
        cls.commit = cls.project.commit("Start")
        cls.run_ = cls.run_pipeline()
        # Later runs of the same jobs leave others.
        cls.artifacts = cls.project.world.folder / "artifacts"
        shutil.copytree(cls.project.world.app.folder / ".gitlab-ci-local" / "artifacts", cls.artifacts)

    @classmethod
    def run_pipeline(cls, *jobs: str) -> Run:
        """Runs all jobs, or some on what the others have left."""
        # On Gitea a request of a branch needs the API; with an SSH key alone it is one of no branch.
        forge = cls.project.forge
        return cls.project.run(*jobs, MR_PUSH_TOKEN=forge.bot.token, MR_PUSH_API_URL=f"{forge.url}/api/v1")

    def test_every_job_passes_but_those_that_somebody_starts(self) -> None:
        self.assertEqual(self.run_.status, 0, self.run_.text[-3000:])
        self.assertEqual(self.run_.passed(), JOBS)

    def test_the_registry_has_the_image_of_the_commit(self) -> None:
        digest = self.project.registry.tags(APPLICATION)[self.commit[:12]]
        self.assertEqual(self.run_.variable("push", "IMAGE_DIGEST"), digest)
        self.assertEqual(self.run_.variable("push", "IMAGE"), f"{self.project.world.image}:{self.commit[:12]}@{digest}")

    def test_the_forge_has_the_request_with_that_image(self) -> None:
        requests = self.project.forge.merge_requests(MANIFESTS)
        self.assertEqual([request["html_url"] for request in requests], [self.run_.variable("deploy-dev", "MR_URL")])
        self.assertEqual(requests[0]["base"]["ref"], TARGET)
        self.assertEqual(requests[0]["title"], f"dev: {APPLICATION} {self.commit[:12]}")
        git = self.project.world.manifests.git
        git("fetch", "-q", "origin", requests[0]["head"]["ref"])
        self.assertIn(self.run_.variable("push", "IMAGE"), git("show", "FETCH_HEAD:manifests/deployment.yml"))

    def test_the_reports_are_what_gitlab_reads(self) -> None:
        self.assertIn("TOTAL 100.00%", self.run_.said_by("gate"))
        self.assertRegex(self.run_.text, r"PASS +gate +100.00% coverage")
        suite = ElementTree.parse(self.artifacts / "test" / "junit.xml")
        self.assertEqual(suite.find("testsuite").get("tests"), "4")
        report = (self.artifacts / "test" / "coverage.xml").read_text()
        self.assertRegex(report, rf"<source>/\S+/{APPLICATION}/app</source>")
        self.assertTrue((self.artifacts / "pages" / "public" / "index.html").exists())
        annotations = json.loads((self.artifacts / "deploy-dev" / "annotations.json").read_text())
        link = annotations["merge request"][0]["external_link"]
        self.assertEqual(link["url"], self.run_.variable("deploy-dev", "MR_URL"))

    def test_no_secret_is_printed(self) -> None:
        for secret in (self.project.registry.password, self.project.forge.bot.key.read_text().splitlines()[1]):
            self.assertNotIn(secret, self.run_.text)

    def test_the_last_jobs_again_change_nothing(self) -> None:
        again = self.run_pipeline("push", "deploy-dev")
        self.assertEqual(again.passed(), {"push", "deploy-dev"}, again.text[-3000:])
        self.assertEqual(again.variable("deploy-dev", "MR_URL"), self.run_.variable("deploy-dev", "MR_URL"))
        self.assertEqual(len(self.project.forge.merge_requests(MANIFESTS, "all")), 1)

    def test_a_failing_gate_stops_it(self) -> None:
        file = self.project.world.app.folder / ".gitlab-ci.yml"
        text = file.read_text()
        self.addCleanup(file.write_text, text)
        one_test = "test-command: pytest -k healthy --cov=app --cov-report=html --cov-report=xml --junitxml=junit.xml"
        file.write_text(text.replace("    inputs:\n", f"    inputs:\n      {one_test}\n      fail-under: 90\n", 1))
        tags = self.project.registry.tags(APPLICATION)
        stopped = self.run_pipeline("test", "gate", "push", "deploy-dev")
        self.assertNotEqual(stopped.status, 0)
        self.assertEqual(stopped.passed(), {"test"}, stopped.text[-3000:])
        self.assertEqual(stopped.failed(), {"gate"})
        self.assertRegex(stopped.text, r"gate +finished in .* FAIL 1")
        self.assertEqual(self.project.registry.tags(APPLICATION), tags)


if __name__ == "__main__":
    unittest.main()
