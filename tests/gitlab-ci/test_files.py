"""Every pipeline of this repository is one that GitLab takes, and what it would not take is found."""

from __future__ import annotations

import unittest

from files import Desk, examples, inputs, undeclared
from project import RUNNER
from services import ENGINE, ROOT

INCLUDE = "include:\n  - local: /ci/pipeline.yml\n    inputs:\n"


class Files(unittest.TestCase):
    """Pipelines, looked at and not run."""

    @classmethod
    def setUpClass(cls) -> None:
        ENGINE.up()
        RUNNER.up()

    def setUp(self) -> None:
        self.desk = Desk()
        self.addCleanup(self.desk.close)

    def test_the_repository_s_own_pipelines(self) -> None:
        for file in (ROOT / ".gitlab-ci.yml", ROOT / "tests" / "hello-python" / ".gitlab-ci.yml"):
            with self.subTest(file=file.name):
                self.assertEqual(self.desk.judge(file.read_text()), "")

    def test_the_documents_examples(self) -> None:
        for document in (ROOT / "README.md", ROOT / "ci" / "README.md"):
            found = examples(document)
            self.assertTrue(found, f"{document} shows no pipeline")
            for example in found:
                with self.subTest(document=document.name, example=example):
                    self.assertEqual(self.desk.judge(example), "")

    def test_environments_are_deployed_to_when_somebody_says_so(self) -> None:
        (example,) = (text for text in examples(ROOT / "ci" / "README.md") if "environment: prd" in text)
        jobs = self.desk.jobs(example)
        self.assertEqual((jobs["deploy_dev"]["when"], jobs["deploy_dev"]["allow_failure"]), ("on_success", False))
        for name in ("deploy_stg", "deploy_prd"):
            self.assertEqual((jobs[name]["when"], jobs[name]["allow_failure"]), ("manual", True))

    def test_every_input_is_described_and_typed(self) -> None:
        for file in (ROOT / "ci").glob("*.yml"):
            for name, value in inputs(file).items():
                with self.subTest(file=file.name, input=name):
                    self.assertLessEqual({"type", "description"}, set(value))

    def test_inputs_reach_the_files_that_declare_them(self) -> None:
        self.assertEqual(undeclared((ROOT / "ci" / "pipeline.yml").read_text(), ROOT / "ci"), [])

    def test_a_wrong_keyword_is_found(self) -> None:
        build = self.desk.ci / "build.yml"
        build.write_text(build.read_text().replace("interruptible:", "interuptible:"))
        self.assertIn("'interuptible' property is not expected", self.desk.judge(INCLUDE.removesuffix("    inputs:\n")))

    def test_a_wrong_input_is_found(self) -> None:
        cases = {
            "fail-undr: 80": "pipeline.yml: fail-undr",
            "fail-under: most": "not a number",
            "registry: gogle": "not in the list",
            "environment: A B": "does not match",
        }
        for given, said in cases.items():
            with self.subTest(input=given):
                self.assertIn(said, self.desk.judge(f"{INCLUDE}      {given}\n"))


if __name__ == "__main__":
    unittest.main()
