"""What a push to a GitLab prints and does, case by case."""

from __future__ import annotations

import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import push_options
import sideband
from workplace import URL, Workplace

RULE = "=" * 72
NEW = f"{URL}/group/app/-/merge_requests/new?merge_request%5Bsource_branch%5D="
VIEW = f"{URL}/group/app/-/merge_requests/"


def said(stderr: str) -> str:
    """What the remote said: git fills its lines up with blanks."""
    lines = [line for line in stderr.splitlines() if line.startswith("remote:")]
    return "".join(line[len("remote: ") :].rstrip(" ") + "\n" for line in lines)


class Bytes(unittest.TestCase):
    def test_basic_message(self) -> None:
        self.assertEqual(sideband.basic("View:\n  url"), b"\nView:\n  url\n\n")

    def test_alert_is_wrapped_at_68_and_centred_in_72(self) -> None:
        text = "ab\n\n" + "c" * 60 + " defg " + "é" * 10
        self.assertEqual(
            sideband.alert(text),
            (
                f"\n{RULE}\n\n"
                # 63 bytes of 72 leave 9, of which 4 come before. With the next word's 4 and the blanks around it: 69.
                f"    ab {'c' * 60}\n"
                # 25 bytes, but 15 characters.
                f"{' ' * 23}defg {'é' * 10}\n\n{RULE}\n\n"
            ).encode(),
        )

    def test_word_longer_than_a_line_follows_an_empty_one(self) -> None:
        self.assertEqual(sideband.alert("x" * 80), f"\n{RULE}\n\n{' ' * 36}\n{'x' * 80}\n\n{RULE}\n\n".encode())

    def test_options(self) -> None:
        parsed = push_options.parse(
            [
                "mr.title=a",
                " merge_request . title = b=c ",
                "mr.label=x",
                "mr.label=y",
                "mr.reviewer=z",
                "mr.create",
                "mr.description=one\ntwo",
                "nonsense",
                "ci.variable=K=V",
                "mr.auto_merge",
            ],  # fmt: skip
            (17, 10),
        )
        self.assertEqual(
            parsed,
            {
                "merge_request": {"title": "b=c", "label": ["x", "y"], "create": True, "description": "one"},
                "ci": {"variable": ["K=V"]},
            },
        )


class Push(Workplace):
    def setUp(self) -> None:
        super().setUp()
        self.git("checkout", "-q", "-b", "argocd/x")
        self.head = self.commit("Two\n\nMore words.", "two\n")

    def test_links_to_a_new_request(self) -> None:
        pushed = self.push("argocd/x")
        self.assertEqual(
            said(pushed.stderr), f"\nTo create a merge request for argocd/x, visit:\n  {NEW}argocd%2Fx\n\n"
        )
        self.assertEqual(self.requests(), [])

    def test_creates_updates_and_creates_anew_after_a_close(self) -> None:
        options = [
            "merge_request.create",
            "merge_request.target=main",
            "mr.description=a\\nb",
            "mr.label=l",
            "mr.draft",
        ]
        pushed = self.push("argocd/x", options=options)
        self.assertEqual(said(pushed.stderr), f"\nView merge request for argocd/x:\n  {VIEW}1\n\n")
        [request] = self.requests()
        expected = {"iid": 1, "state": "opened", "source_branch": "argocd/x", "target_branch": "main",
                    "title": "Draft: Two", "description": "a\nb", "labels": ["l"], "assignees": ["robot"],
                    "sha": self.head, "web_url": f"{VIEW}1"}  # fmt: skip
        self.assertEqual({key: request[key] for key in expected}, expected)

        head = self.commit("Three", "three\n")
        pushed = self.push(
            "argocd/x", options=["mr.create", "mr.title=T", "mr.unlabel=l", "mr.squash", "mr.auto_merge"]
        )
        self.assertEqual(said(pushed.stderr), f"\nView merge request for argocd/x:\n  {VIEW}1\n\n")
        [request] = self.requests()
        expected = {"title": "T", "draft": False, "labels": [], "squash": True, "merge_when_pipeline_succeeds": True,
                    "sha": head}  # fmt: skip
        self.assertEqual({key: request[key] for key in expected}, expected)

        kept = self.repository.with_suffix(".requests.json")
        kept.write_text(kept.read_text().replace('"opened"', '"closed"'))
        self.commit("Four", "four\n")
        self.assertEqual(said(self.push("argocd/x", options=["mr.create"]).stderr).split()[-1], f"{VIEW}2")
        self.assertEqual([one["state"] for one in self.requests()], ["closed", "opened"])

    def test_words_of_one_commit_and_of_several(self) -> None:
        self.push("argocd/x", options=["mr.create"])
        self.commit("Three", "three\n")
        self.push("HEAD:refs/heads/some-thing", options=["mr.create"])
        self.assertEqual(
            [(one["title"], one["description"]) for one in self.requests()],
            [("Two", "More words."), ("Some thing", "")],
        )

    def test_target_that_is_not_there(self) -> None:
        pushed = self.push("argocd/x", options=["merge_request.create", "merge_request.target=demo"])
        self.assertEqual(
            said(pushed.stderr),
            f"\n{RULE}\n\n"
            "             WARNINGS: Error encountered with push options\n"
            "   'merge_request.create' 'merge_request.target=demo': Target branch\n"
            "                     group/app:demo does not exist\n"
            f"\n{RULE}\n\n"
            f"\nTo create a merge request for argocd/x, visit:\n  {NEW}argocd%2Fx\n\n",
        )
        self.assertEqual(self.git("ls-remote", str(self.repository), "argocd/x").stdout.split()[0], self.head)

    def alert(self, *options: str) -> str:
        """The warning that a push with options brings, in one line."""
        text = said(self.push("argocd/x", options=list(options)).stderr)
        self.assertEqual(text.count(RULE), 2, text)
        return " ".join(text.split(RULE)[1].split()).partition(": ")[2].partition(": ")[2]

    def test_option_without_create(self) -> None:
        self.assertEqual(
            self.alert("mr.title=x"),
            "A merge_request.create push option is required to create a merge request for branch argocd/x",
        )

    def test_other_refusals_leave_the_branch(self) -> None:
        for key, value, expected in (
            ("gitlab.user", "", "User is required"),
            ("gitlab.access", "false", "User access was denied"),
            ("gitlab.fault", "true", "An unknown error occurred"),
        ):
            with self.subTest(expected):
                self.git("config", "--file", self.repository / "config", key, value)
                self.assertEqual(self.alert("mr.create"), expected)
                self.git("config", "--file", self.repository / "config", "--unset", key)
                self.push(":argocd/x")
        self.assertEqual(self.alert("mr.create", "mr.target_project=other/app"),
                         "Projects group/app and other/app are not in the same network")  # fmt: skip
        self.assertEqual(self.requests(), [])

    def test_merge_requests_turned_off(self) -> None:
        self.set("gitlab.mergeRequests", "false")
        self.assertEqual(self.alert("mr.create"), "Merge requests are not enabled for project group/app")
        self.assertNotIn("visit", self.push(":argocd/x").stderr + self.push("argocd/x").stderr)

    def test_banner_comes_before_the_warning(self) -> None:
        self.set("gitlab.banner", "Down at noon")
        text = said(self.push("argocd/x", options=["mr.title=x"]).stderr)
        self.assertTrue(text.startswith(f"\n{RULE}\n\n{' ' * 30}Down at noon\n\n{RULE}\n\n\n{RULE}\n\n"), text)
        self.assertLess(text.index("WARNINGS:"), text.index("To create a merge request"))

    def test_more_than_ten_branches(self) -> None:
        pushed = self.push(*(f"HEAD:refs/heads/b{number}" for number in range(11)), options=["mr.create"])
        text = " ".join(said(pushed.stderr).split())
        self.assertIn("Too many branches pushed (11 were pushed, limit is 10)", text)
        self.assertEqual((self.requests(), text.count("visit:")), ([], 11))

    def test_default_branch_has_no_request_unless_a_target_is_named(self) -> None:
        self.push("main:refs/heads/demo")
        self.git("checkout", "-q", "main")
        self.commit("Two", "2\n")
        self.assertEqual(said(self.push("main", options=["mr.create"]).stderr), "")
        self.assertEqual(self.requests(), [])
        self.commit("Three", "3\n")
        self.assertEqual(said(self.push("main", options=["mr.create", "mr.target=demo"]).stderr), "")
        self.assertEqual([one["target_branch"] for one in self.requests()], ["demo"])

    def test_printing_turned_off(self) -> None:
        self.set("gitlab.link", "false")
        self.assertEqual(said(self.push("argocd/x", options=["mr.create"]).stderr), "")
        self.assertEqual(len(self.requests()), 1)

    def test_older_version_ignores_what_it_does_not_know(self) -> None:
        self.set("gitlab.version", "17.10")
        self.push("argocd/x", options=["mr.create", "mr.auto_merge", "mr.squash", "mr.reviewer=a"])
        [request] = self.requests()
        self.assertEqual((request["merge_when_pipeline_succeeds"], request["squash"]), (False, True))

    def test_unknown_milestone_and_member_are_ignored(self) -> None:
        self.set("gitlab.milestone", "1.0")
        self.set("gitlab.member", "ann", "bob")
        self.push("argocd/x", options=["mr.create", "mr.milestone=2.0", "mr.assign=bob", "mr.assign=eve"])
        [request] = self.requests()
        self.assertEqual((request["milestone"], request["assignees"]), (None, ["robot", "bob"]))

    def test_protected_branches(self) -> None:
        self.push("argocd/x")
        self.set("gitlab.protectedBranch", "argocd/*", "main")
        self.git("commit", "-q", "--amend", "-m", "Other")
        for refs, expected in (
            (["argocd/x:main"], "You are not allowed to push code to protected branches on this project."),
            (["+argocd/x"], "You are not allowed to force push code to a protected branch on this project."),
            (["HEAD:refs/heads/argocd/y"], "You are not allowed to create protected branches on this project."),
        ):
            pushed = self.push(*refs, options=["mr.create"], check=False)
            self.assertEqual((pushed.returncode, said(pushed.stderr)), (1, f"GitLab: {expected}\n"))
            self.assertIn("(pre-receive hook declined)", pushed.stderr)
        self.assertEqual(self.requests(), [])

    def test_any_other_refusal(self) -> None:
        self.set("gitlab.refuse", "Commit message does not follow the pattern '^JIRA-'")
        pushed = self.push("argocd/x", check=False)
        self.assertEqual(said(pushed.stderr), "GitLab: Commit message does not follow the pattern '^JIRA-'\n")

    def test_slow_and_in_pieces(self) -> None:
        self.set("gitlab.slowHook", "300")
        self.set("gitlab.chunk", "7")
        began = time.monotonic()
        pushed = self.push("argocd/x", options=["mr.create"])
        self.assertGreaterEqual(time.monotonic() - began, 0.3)
        self.assertEqual(said(pushed.stderr), f"\nView merge request for argocd/x:\n  {VIEW}1\n\n")

    def test_push_that_moves_nothing(self) -> None:
        self.push("argocd/x")
        self.set("gitlab.unmoved", "ignore")
        before = self.records()
        command = f"{self.head} {self.head} refs/heads/argocd/x"
        hook = Path(__file__).with_name("hook.py")
        done = subprocess.run(
            [sys.executable, "-B", hook, "post-receive"], cwd=self.repository, input=command, capture_output=True, text=True
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stdout, self.records()), (0, "", before))

    def test_server_without_push_options(self) -> None:
        self.set("receive.advertisePushOptions", "false")
        pushed = self.push("argocd/x", options=["mr.create"], check=False)
        self.assertIn("the receiving end does not support push options", pushed.stderr)

    def test_server_without_filters(self) -> None:
        target = f"file://{self.repository}"
        self.git("clone", "-q", "--bare", "--filter=blob:none", target, "with")
        self.set("uploadpack.allowFilter", "false")
        self.assertIn(
            "filtering not recognized", self.git("clone", "--bare", "--filter=blob:none", target, "without").stderr
        )

    def test_every_push_is_kept(self) -> None:
        self.push("argocd/x", options=["a b", "mr.title="])
        self.assertEqual(
            self.records()["pushes"][-1],
            {"changes": [["0" * 40, self.head, "refs/heads/argocd/x"]], "options": ["a b", "mr.title="]},
        )


if __name__ == "__main__":
    unittest.main()
