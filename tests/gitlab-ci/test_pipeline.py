"""The documents' pipelines as their readers would try them, run job by job in containers: from the commit of a project
that has nothing of ours but the include and four variables, to the merge request on the forge.

Run by `scripts/test`: `python3 -m unittest discover -s tests/gitlab-ci`.
"""

from __future__ import annotations

import json
import shutil
import unittest
from xml.etree import ElementTree

from files import FileServer, examples
from project import APPLICATION, MANIFESTS, Project, Run, scoped
from services import ROOT, Service
from world import APPLICATION_FILES

JOBS = {"build", "test", "gate", "pages", "push", "deploy_dev"}
MANIFEST = "manifests/deployment.yml"
# Answers as GitLab does.
GITLAB = Service("git-ssh")


def example(*words: str) -> str:
    """The one pipeline of ci/README.md that has these words."""
    (found,) = (text for text in examples(ROOT / "ci" / "README.md") if all(word in text for word in words))
    return found


def with_inputs(inputs: dict[str, str | int]) -> str:
    """The include with what a user may add beside it, and with these inputs."""
    given = "".join(f"      {name}: {value}\n" for name, value in inputs.items())
    file = "    file: /ci/pipeline.yml\n"
    return example("tags: [privileged]").replace(file, f"{file}    inputs:\n{given}")


class Pipeline(unittest.TestCase):
    """One commit to the default branch."""

    project: Project
    run_: Run

    @classmethod
    def setUpClass(cls) -> None:
        cls.project = Project()
        cls.addClassCleanup(cls.project.close)
        cls.project.app.fill(APPLICATION_FILES)
        cls.pipeline = examples(ROOT / "README.md")[0]
        (cls.project.app.folder / ".gitlab-ci.yml").write_text(cls.pipeline)
        cls.commit = cls.project.commit("Start")
        cls.tag = cls.commit[:12]
        cls.run_ = cls.project.run(cls.pipeline)
        # Later runs of the same jobs leave others.
        cls.artifacts = cls.project.folder / "artifacts"
        shutil.copytree(cls.project.app.folder / ".gitlab-ci-local" / "artifacts", cls.artifacts)

    def test_every_job_passes(self) -> None:
        self.assertEqual(self.run_.status, 0, self.run_.text[-3000:])
        self.assertEqual(self.run_.passed(), JOBS)

    def test_the_registry_has_the_image_of_the_commit(self) -> None:
        digest = self.project.registry.tags(APPLICATION)[self.tag]
        self.assertEqual(self.run_.variable("push", "IMAGE_DIGEST"), digest)
        self.assertEqual(self.run_.variable("push", "IMAGE"), f"{self.project.image}:{self.tag}@{digest}")

    def test_the_forge_has_the_request_with_that_image(self) -> None:
        url = self.run_.variable("deploy_dev", "MR_URL")
        request = self.project.request(url)
        self.assertEqual((request["base"]["ref"], request["title"]), ("demo", f"dev: hello-python {self.tag}"))
        self.assertIn(f"image: {self.run_.variable('push', 'IMAGE')} #", self.project.requested(url, MANIFEST))

    def test_the_reports_are_what_gitlab_reads(self) -> None:
        self.assertIn("TOTAL 100.00%", self.run_.said_by("gate"))
        self.assertRegex(self.run_.text, r"PASS +gate +100.00% coverage")
        suite = ElementTree.parse(self.artifacts / "test" / "junit.xml")
        self.assertEqual(suite.find("testsuite").get("tests"), "4")
        report = (self.artifacts / "test" / "coverage.xml").read_text()
        self.assertRegex(report, r"<source>/\S+/hello-python/app</source>")
        self.assertTrue((self.artifacts / "pages" / "public" / "index.html").exists())
        annotations = json.loads((self.artifacts / "deploy_dev" / "annotations.json").read_text())
        link = annotations["merge request"][0]["external_link"]
        self.assertEqual(link["url"], self.run_.variable("deploy_dev", "MR_URL"))

    def test_no_secret_is_printed(self) -> None:
        for secret in (self.project.registry.password, self.project.forge.bot.key.read_text().splitlines()[1]):
            self.assertNotIn(secret, self.run_.text)

    def test_the_last_jobs_again_change_nothing(self) -> None:
        before = len(self.project.forge.merge_requests(MANIFESTS, "all"))
        again = self.project.run(self.pipeline, "push", "deploy_dev")
        self.assertEqual(again.passed(), {"push", "deploy_dev"}, again.text[-3000:])
        # With an SSH key alone Gitea does not tell where a request is that was open already.
        self.assertIn(again.variable("deploy_dev", "MR_URL"), ("", self.run_.variable("deploy_dev", "MR_URL")))
        annotations = self.project.app.folder / ".gitlab-ci-local" / "artifacts" / "deploy_dev" / "annotations.json"
        self.assertIsInstance(json.loads(annotations.read_text()), dict)
        self.assertEqual(len(self.project.forge.merge_requests(MANIFESTS, "all")), before)

    def test_each_environment_has_its_own_variables(self) -> None:
        elsewhere = self.project.manifests_url.replace(MANIFESTS, "team/nowhere")
        places = scoped(**{"*": elsewhere, "stg": self.project.manifests_url})
        run = self.project.run(
            example("environment: stg", "environment: prd"), "deploy_stg", "deploy_prd", MANIFESTS=places
        )
        self.assertEqual(run.passed(), {"deploy_stg"}, run.text[-3000:])
        self.assertEqual(run.failed_without_harm(), {"deploy_prd"}, run.text[-3000:])
        request = self.project.request(run.variable("deploy_stg", "MR_URL"))
        self.assertEqual((request["base"]["ref"], request["title"]), ("stg", f"stg: hello-python {self.tag}"))

    def test_a_project_access_token_instead_of_a_key(self) -> None:
        gitlab = GITLAB.up()
        GITLAB.call("create-repository", "gitlab-ci/manifests", "main")
        url = f"{gitlab['GIT_HTTPS_URL']}/gitlab-ci/manifests.git"
        with_token = [
            *("-c", f"http.sslCAInfo={gitlab['GIT_HTTPS_CA']}"),
            *("-c", f"credential.helper=!printf 'username=oauth2\\npassword={gitlab['GITLAB_API_TOKEN']}\\n' #"),
        ]
        self.project.manifests.git(*with_token, "push", "-q", "--force", url, "HEAD:main", "HEAD:refs/heads/demo")
        run = self.project.run(
            *(self.pipeline, "deploy_dev"),
            MANIFESTS=url,
            GITLAB_TOKEN=gitlab["GITLAB_API_TOKEN"],
            # What a job would trust by the runner's configuration.
            GIT_SSL_CAINFO=gitlab["GIT_HTTPS_CA"],
            SSH_PRIVATE_KEY="",
            SSH_KNOWN_HOSTS="",
        )
        self.assertEqual(run.passed(), {"deploy_dev"}, run.text[-3000:])
        (request,) = (
            one
            for one in json.loads(GITLAB.call("requests", "gitlab-ci/manifests"))
            if one["source_branch"] == f"argocd/{self.tag}-dev"
        )
        self.assertEqual((request["target_branch"], request["title"]), ("demo", f"dev: hello-python {self.tag}"))
        self.assertTrue(run.variable("deploy_dev", "MR_URL").endswith(f"/-/merge_requests/{request['iid']}"))
        self.assertNotIn(gitlab["GITLAB_API_TOKEN"], run.text)

    def test_one_file_alone_with_a_job_of_the_project_s_own(self) -> None:
        git = self.project.app.git
        shutil.copytree(ROOT / "ci", self.project.app.folder / "ci")
        git("add", "ci")
        self.addCleanup(git, "rm", "-rqf", "ci")
        run = self.project.run(example("local: /ci/deploy.yml", "docker_build:"))
        self.assertEqual(run.passed(), {"docker_build", "deploy_dev"}, run.text[-3000:])
        manifest = self.project.requested(run.variable("deploy_dev", "MR_URL"), MANIFEST)
        self.assertIn(f"image: registry.test/team/app:{self.commit[:8]} #", manifest)

    def test_included_from_a_server_of_files(self) -> None:
        server = FileServer(ROOT)
        self.addCleanup(server.close)
        run = self.project.run(server.serving(example("remote:")), "push", "deploy_dev")
        self.assertEqual(run.passed(), {"push", "deploy_dev"}, run.text[-3000:])
        self.assertEqual(run.variable("push", "IMAGE"), self.run_.variable("push", "IMAGE"))

    def test_a_report_may_be_in_a_folder_that_the_repository_has_too(self) -> None:
        inputs = {
            "test-command": "python -m pytest --cov=. --cov-report=html:public/html --cov-report=xml --junitxml=junit.xml",
            "coverage-report": "public/html",
        }
        pipeline = with_inputs(inputs)
        own = self.project.app.folder / "public"
        own.mkdir()
        (own / "favicon.ico").touch()
        self.project.app.git("add", "--force", "public")
        self.addCleanup(self.project.app.git, "rm", "-rqf", "public")
        run = self.project.run(pipeline, "test", "gate", "pages")
        self.assertEqual(run.passed(), {"test", "gate", "pages"}, run.text[-3000:])
        left = self.project.app.folder / ".gitlab-ci-local" / "artifacts"
        self.assertRegex((left / "test" / "coverage.xml").read_text(), r"<source>/\S+/hello-python</source>")
        published = left / "pages" / "public"
        self.assertTrue((published / "index.html").exists() and not (published / "favicon.ico").exists())

    def test_a_failing_gate_stops_it(self) -> None:
        tags = self.project.registry.tags(APPLICATION)
        inputs = {
            "test-command": "python -m pytest -k healthy --cov=app --cov-report=html --cov-report=xml --junitxml=junit.xml",
            "fail-under": 90,
        }
        pipeline = with_inputs(inputs)
        stopped = self.project.run(pipeline, "test", "gate", "push", "deploy_dev")
        self.assertNotEqual(stopped.status, 0)
        self.assertEqual((stopped.passed(), stopped.failed()), ({"test"}, {"gate"}), stopped.text[-3000:])
        self.assertRegex(stopped.text, r"gate +finished in .* FAIL 1")
        self.assertEqual(self.project.registry.tags(APPLICATION), tags)


if __name__ == "__main__":
    unittest.main()
