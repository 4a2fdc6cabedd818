"""GitLab's `pre-receive` and `post-receive` hooks of a repository (see `project.py` for its settings).

    hook.py pre-receive|post-receive        run by git, in the repository, with the changes on stdin

The order of the answer's messages is that of `app/services/post_receive_service.rb`: each alert goes before what is
there already, so a broadcast message precedes the warning about push options, and links come last.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import merge_requests
import push_options
import sideband
from project import Project

Changes = list[tuple[str, str, str]]


def pushed_options() -> list[str]:
    """The options of this push, as git hands them to its hooks."""
    return [os.environ[f"GIT_PUSH_OPTION_{at}"] for at in range(int(os.environ.get("GIT_PUSH_OPTION_COUNT") or 0))]


def refusal(project: Project, changes: Changes) -> str | None:
    """Why the push is refused, if it is (`lib/gitlab/checks/branch_check.rb`)."""
    for old, new, ref in changes:
        branch = ref.removeprefix("refs/heads/")
        if any(fnmatch.fnmatchcase(branch, pattern) for pattern in project.every("protectedBranch")):
            if forced(project, old, new):
                return "You are not allowed to force push code to a protected branch on this project."
            if not old.strip("0"):
                return "You are not allowed to create protected branches on this project."
            return "You are not allowed to push code to protected branches on this project."
    return project.setting("refuse", "") or None


def forced(project: Project, old: str, new: str) -> bool:
    """Whether the branch loses commits."""
    if not old.strip("0") or not new.strip("0"):
        return False
    return project.git("merge-base", "--is-ancestor", old, new, check=False).returncode != 0


def answer(project: Project, changes: Changes, options: list[str]) -> bytes:
    """Does what the options ask for; what the push prints."""
    alerts, basics = [], []
    wanted = push_options.parse(options, project.version).get("merge_request")
    with project.records() as records:
        records["pushes"].append({"changes": changes, "options": options})
        requests = records["requests"]
        for request in requests:
            request["sha"] = project.branch(request["source_branch"]) or request["sha"]
        errors = merge_requests.handle(project, requests, changes, wanted) if wanted else []
        if errors:
            quoted = " ".join(f"'{option}'" for option in options)
            alerts.insert(0, f"WARNINGS:\nError encountered with push options {quoted}: " + "\n\n".join(errors))
        if banner := project.setting("banner", ""):
            alerts.insert(0, banner)
        for branch, url, exists in merge_requests.links(project, requests, changes):
            what = f"View merge request for {branch}:" if exists else f"To create a merge request for {branch}, visit:"
            basics.append(f"{what}\n  {url}")
    return b"".join([*map(sideband.alert, alerts), *map(sideband.basic, basics)])


def main() -> int:
    """Runs the hook that the command line names."""
    project = Project(Path.cwd())
    changes = [tuple(line.split(" ", 2)) for line in sys.stdin.read().splitlines()]
    if sys.argv[1] == "pre-receive":
        if message := refusal(project, changes):
            # NotAllowedError of internal/gitaly/hook/prereceive.go
            print(f"GitLab: {message}", file=sys.stderr)
            return 1
        return 0
    if project.setting("unmoved", "") == "ignore" and all(old == new for old, new, _ in changes):
        return 0
    time.sleep(int(project.setting("slowHook", "0")) / 1000)
    text = answer(project, changes, pushed_options())
    size = int(project.setting("chunk", "0")) or len(text) or 1
    for at in range(0, len(text), size):
        # git forwards what it reads at once, so a pause makes a packet of each piece.
        time.sleep(0 if size >= len(text) else 0.01)
        os.write(1, text[at : at + size])
    return 0


if __name__ == "__main__":
    sys.exit(main())
