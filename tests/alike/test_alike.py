"""What a user learns of one tool holds for all six: help, versions, errors, statuses, closed and full outputs.

Run by `scripts/test` on the static release binaries: `python3 -m unittest discover -s tests/alike`.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "pipeline"), str(ROOT / "scripts" / "benchmarks")]
from peers import python  # noqa: E402 # the path is known only now
from workshop import TOOLS, build_tools  # noqa: E402

AUTHOR = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.invalid",
}  # fmt: skip
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {containers: [{name: app, image: registry.test/app:1}]}\n"
VALIDATE = "import json, jsonschema, sys; jsonschema.validate(json.loads(sys.argv[2]), json.loads(sys.argv[1]))"
LCOV = "TN:\nSF:a.c\nDA:1,1\nDA:2,1\nend_of_record\n"

# For each tool that needs no server, a command line, its stdin, and what it prints.
ONE_RECORD = {
    "imgtag": (["--length", "12"], "", r"[0-9a-f]{12}"),
    "covgate": (["-"], LCOV, r"TOTAL 100\.00%"),
    "manifest-patch": (["--image", "registry.test/app:2"], POD, r".*image: registry\.test/app:2.*"),
    "k8s-sync": (["health", "-f", "-"], POD, r"[A-Z][a-z]+\tPod [^\t]*one\t.*"),
}
# A command line that can't work, beside wrong usage.
BAD_INPUT = {
    "imgtag": ["-C", "nowhere"],
    "covgate": ["nowhere.xml"],
    "imgpush": ["--from", "oci:nowhere", "registry.test/app:1"],
    "manifest-patch": ["--image", "registry.test/app:2", "nowhere.yml"],
    "mr-push": ["--branch", "b", "nowhere", "--", "true"],
    "k8s-sync": ["health", "-f", "nowhere.yml"],
}


def each(tools):
    """A test of every one of these tools."""

    def of_all(test):
        @functools.wraps(test)
        def run(self: unittest.TestCase) -> None:
            for tool in tools:
                with self.subTest(tool):
                    test(self, tool)

        return run

    return of_all


class Alike(unittest.TestCase):
    """Each test goes through the tools."""

    tools: Path
    folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.tools = build_tools()
        cls.python = python("jsonschema==4.25.1") / "python"
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        cls.git("init", "-q")
        cls.git("commit", "-q", "--allow-empty", "-m", "one")

    @classmethod
    def git(cls, *words: str) -> None:
        subprocess.run(["git", *words], cwd=cls.folder, env=cls.environment(), check=True)

    @classmethod
    def environment(cls, **variables: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(cls.folder), "GIT_CONFIG_NOSYSTEM": "1", **AUTHOR, **variables}

    def run_tool(self, tool: str, *words: str, stdin: str = "", **more) -> subprocess.CompletedProcess:
        variables = more.pop("variables", {})
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.run(
            [self.tools / tool, *words], cwd=self.folder, env=self.environment(**variables), input=stdin, text=True, timeout=60,
            check=False, **more,
        )  # fmt: skip

    @each(TOOLS)
    def test_version(self, tool: str) -> None:
        for option in ("--version", "-V"):
            done = self.run_tool(tool, option)
            self.assertRegex(done.stdout, rf"^{tool} \d+\.\d+\.\d+\n$")
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    @each(TOOLS)
    def test_help_has_examples_and_names_the_common_options(self, tool: str) -> None:
        done = self.run_tool(tool, "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"(?i)examples?:")
        for option in ("--quiet", "--verbose", "--output", "--help", "--version"):
            self.assertIn(option, done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    @each(TOOLS)
    def test_manual_page_and_completions(self, tool: str) -> None:
        manual = self.run_tool(tool, "--generate", "man").stdout
        self.assertIn(".SH NAME", manual)
        self.assertIn(".SH OPTIONS", manual)
        for shell in ("bash", "zsh", "fish"):
            self.assertIn(tool, self.run_tool(tool, "--generate", f"complete-{shell}").stdout)

    @each(TOOLS)
    def test_wrong_usage_is_2_with_a_hint(self, tool: str) -> None:
        done = self.run_tool(tool, "--no-such-option")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, rf"^{tool}: error: .*--no-such-option.*\nhint: .*--help")

    @each(TOOLS)
    def test_bad_input_is_2_and_says_where(self, tool: str) -> None:
        done = self.run_tool(tool, *BAD_INPUT[tool])
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertRegex(done.stderr, rf"(?s)^{tool}: error: .*nowhere.*\nhint: ")

    @each(TOOLS)
    def test_an_error_is_json_too(self, tool: str) -> None:
        done = self.run_tool(tool, "-o", "json", *BAD_INPUT[tool])
        self.assertEqual(done.returncode, 2)
        answer = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(answer["schema"], f"{tool}/v1")
        self.assertLessEqual({"kind", "message", "hint"}, answer["error"].keys())
        self.assertIn(answer["error"]["kind"], ("input", "refused"))

    @each(TOOLS)
    def test_json_is_what_the_schema_says(self, tool: str) -> None:
        schema = json.loads((ROOT / "tools" / tool / "schema" / f"{tool}.v1.json").read_text())
        asked = [["-o", "json", *BAD_INPUT[tool]], ["-o", "json", "--no-such-option"]]
        stdin = ""
        if tool in ONE_RECORD:
            words, stdin, _ = ONE_RECORD[tool]
            asked.append(["-o", "json", *words])
        for words in asked:
            for line in self.run_tool(tool, *words, stdin=stdin).stdout.splitlines():
                checked = subprocess.run(
                    [self.python, "-c", VALIDATE, json.dumps(schema), line], capture_output=True, text=True, check=False
                )
                self.assertEqual(checked.returncode, 0, f"{words}: {line}: {checked.stderr[-800:]}")

    @each(ONE_RECORD)
    def test_one_record_on_stdout_and_no_colour(self, tool: str) -> None:
        words, stdin, expected = ONE_RECORD[tool]
        done = self.run_tool(tool, *words, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(any(re.fullmatch(expected, line) for line in done.stdout.splitlines()), done.stdout)
        self.assertNotIn("\x1b", done.stdout + done.stderr)

    @each(ONE_RECORD)
    def test_quiet_says_nothing(self, tool: str) -> None:
        words, stdin, _ = ONE_RECORD[tool]
        self.assertEqual(self.run_tool(tool, "-q", *words, stdin=stdin).stderr, "")

    @each(ONE_RECORD)
    def test_a_closed_stdout_ends_quietly(self, tool: str) -> None:
        words, stdin, _ = ONE_RECORD[tool]
        reading, writing = os.pipe()
        os.close(reading)
        done = self.run_tool(tool, "-q", *words, stdin=stdin, stdout=writing)
        os.close(writing)
        self.assertNotIn(done.returncode, (1, 2, 101))
        self.assertEqual(done.stderr, "")

    @each(ONE_RECORD)
    def test_a_full_disk_under_stdout_is_2(self, tool: str) -> None:
        words, stdin, _ = ONE_RECORD[tool]
        with open("/dev/full", "w") as full:
            done = self.run_tool(tool, *words, stdin=stdin, stdout=full)
        self.assertEqual(done.returncode, 2)
        self.assertIn("No space left", done.stderr)

    @each(ONE_RECORD)
    def test_an_empty_variable_is_an_unset_one(self, tool: str) -> None:
        words, stdin, _ = ONE_RECORD[tool]
        names = set(re.findall(r"\[env: ([A-Z_0-9]+)", self.run_tool(tool, "--help").stdout))
        plain = self.run_tool(tool, *words, stdin=stdin)
        empty = self.run_tool(tool, *words, stdin=stdin, variables=dict.fromkeys(names, ""))
        self.assertEqual((plain.returncode, plain.stdout), (empty.returncode, empty.stdout), empty.stderr)

    @each(TOOLS)
    def test_no_secret_is_taken_from_the_command_line(self, tool: str) -> None:
        text = self.run_tool(tool, "--help").stdout
        self.assertNotRegex(text, r"--(password|token|secret|private-key)[ =]<")


if __name__ == "__main__":
    unittest.main()
