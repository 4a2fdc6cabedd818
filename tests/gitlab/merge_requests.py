"""Merge requests as pushes make and change them (`app/services/merge_requests/push_options_handler_service.rb`).

By the time this runs the branches have changed: an error is only told, it undoes nothing.
A merge request is kept as the object that the REST API shows.
"""

from __future__ import annotations

import datetime
from urllib.parse import quote_plus

from project import Project

LIMIT = 10
DRAFT = "Draft: "


class Refused(Exception):
    """A merge request that GitLab's validations refuse; the text is its message."""


def branches_of(project: Project, changes: list[tuple[str, str, str]], with_default: bool) -> list[str]:
    """The branches that were pushed and not deleted; the default branch only if a target is named."""
    names = []
    for _, new, ref in changes:
        if ref.startswith("refs/heads/") and new.strip("0"):
            name = ref[len("refs/heads/") :]
            if with_default or name != project.default_branch:
                names.append(name)
    return names


def handle(project: Project, requests: list[dict], changes: list[tuple[str, str, str]], options: dict) -> list[str]:
    """Creates or changes the merge request of each pushed branch; returns the errors."""
    branches = branches_of(project, changes, with_default="target" in options)
    errors = refusals(project, branches, options)
    if errors:
        return errors
    for branch in branches:
        try:
            if project.setting("fault", "false") == "true":
                errors.append("An unknown error occurred")
            elif request := open_request(requests, branch):
                change(project, request, parameters(project, options))
            elif "create" in options:
                create(project, requests, branch, {"assignees": [project.user], **parameters(project, options)})
            else:
                errors.append(
                    f"A merge_request.create push option is required to create a merge request for branch {branch}"
                )
        except Refused as refused:
            errors.append(str(refused))
    return errors


def refusals(project: Project, branches: list[str], options: dict) -> list[str]:
    """Why nothing is done for any branch."""
    if not project.user:
        return ["User is required"]
    if project.off("access"):
        return ["User access was denied"]
    errors = []
    other = options.get("target_project", project.path)
    if other != project.path:
        errors.append(f"Projects {project.path} and {other} are not in the same network")
    if project.off("mergeRequests"):
        errors.append(f"Merge requests are not enabled for project {project.path}")
    if len(branches) > LIMIT:
        errors.append(f"Too many branches pushed ({len(branches)} were pushed, limit is {LIMIT})")
    target = options.get("target")
    if target and not project.branch(str(target)):
        errors.append(f"Target branch {project.path}:{target} does not exist")
    return errors


def parameters(project: Project, options: dict) -> dict:
    """The options as changes to a merge request; `add_…` and `remove_…` for its lists."""
    wanted: dict = {}
    for option, field in (("title", "title"), ("description", "description"), ("target", "target_branch")):
        if option in options:
            wanted[field] = options[option] if options[option] is not True else "true"
    if "description" in wanted:
        # An option can't hold a newline; the two characters stand for one.
        wanted["description"] = wanted["description"].replace("\\n", "\n")
    for option, field in (
        ("draft", "draft"),
        ("squash", "squash"),
        ("remove_source_branch", "force_remove_source_branch"),
        ("auto_merge", "merge_when_pipeline_succeeds"),
        ("merge_when_pipeline_succeeds", "merge_when_pipeline_succeeds"),
    ):
        if option in options:
            wanted[field] = options[option] not in ("false", "0")
    wanted["add_labels"] = options.get("label", [])
    wanted["remove_labels"] = options.get("unlabel", [])
    wanted["add_assignees"] = assignable(project, options.get("assign", []))
    wanted["remove_assignees"] = options.get("unassign", [])
    if options.get("milestone") in project.every("milestone"):
        wanted["milestone"] = options["milestone"]
    return wanted


def assignable(project: Project, names: list[str]) -> list[str]:
    """The names that somebody has; the others are ignored."""
    members = project.every("member")
    return [name.lstrip("@") for name in names if not members or name.lstrip("@") in members]


def open_request(requests: list[dict], source: str) -> dict | None:
    """The open merge request of a branch: of several, the last (`index_by`)."""
    found = [one for one in requests if one["state"] == "opened" and one["source_branch"] == source]
    return found[-1] if found else None


def create(project: Project, requests: list[dict], source: str, wanted: dict) -> dict:
    """A new merge request (`MergeRequests::BuildService`, `CreateService`)."""
    target = wanted.get("target_branch", project.default_branch)
    if source == target:
        raise Refused("You must select different branches")
    for side, branch in (("Source", source), ("Target", target)):
        if not project.branch(branch):
            raise Refused(f'{side} branch "{branch}" does not exist')
    for one in requests:
        if one["state"] == "opened" and (one["source_branch"], one["target_branch"]) == (source, target):
            raise Refused(f"Another open merge request already exists for this source branch: !{one['iid']}")
    title, description = words_of(project, source, target)
    number = 1 + max((one["iid"] for one in requests), default=0)
    request = {
        "iid": number,
        "state": "opened",
        "source_branch": source,
        "target_branch": target,
        "title": title,
        "description": description,
        "draft": False,
        "labels": [],
        "assignees": [],
        "reviewers": [],
        "milestone": None,
        "squash": False,
        "force_remove_source_branch": False,
        "merge_when_pipeline_succeeds": False,
        "author": project.user,
        "web_url": f"{project.url}/-/merge_requests/{number}",
        "created_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
    }
    change(project, request, {**wanted, "target_branch": target})
    requests.append(request)
    return request


def change(project: Project, request: dict, wanted: dict) -> None:
    """Overwrites what is wanted and leaves the rest (`MergeRequests::UpdateService`)."""
    if not wanted.get("title", request["title"]).strip():
        raise Refused("Title can't be blank")
    for field in (
        "title",
        "description",
        "target_branch",
        "squash",
        "force_remove_source_branch",
        "merge_when_pipeline_succeeds",
        "milestone",
        "labels",
        "assignees",
        "reviewers",
    ):
        if field in wanted:
            request[field] = wanted[field]
    if "draft" in wanted:
        request["title"] = (DRAFT if wanted["draft"] else "") + request["title"].removeprefix(DRAFT)
    request["draft"] = request["title"].startswith(DRAFT)
    for field in ("labels", "assignees"):
        names = request[field] + [name for name in wanted.get(f"add_{field}", []) if name not in request[field]]
        request[field] = [name for name in names if name not in wanted.get(f"remove_{field}", [])]
    request["sha"] = project.branch(request["source_branch"])


def words_of(project: Project, source: str, target: str) -> tuple[str, str]:
    """Title and description of a request that names none: its only commit's, or the branch's name."""
    commits = project.git("rev-list", "--max-count=2", f"refs/heads/{target}..refs/heads/{source}").stdout.split()
    if len(commits) != 1:
        return source.replace("-", " ").replace("_", " ").capitalize(), ""
    subject, _, body = project.git("show", "--no-patch", "--format=%s%n%b", commits[0]).stdout.partition("\n")
    return subject, body.strip()


def links(project: Project, requests: list[dict], changes: list[tuple[str, str, str]]) -> list[tuple[str, str, bool]]:
    """Branch, address and whether a request is there (`app/services/merge_requests/get_urls_service.rb`)."""
    if project.off("link") or project.off("mergeRequests"):
        return []
    found = []
    for branch in branches_of(project, changes, with_default=False):
        request = open_request(requests, branch)
        new = f"{project.url}/-/merge_requests/new?merge_request%5Bsource_branch%5D={quote_plus(branch)}"
        found.append((branch, request["web_url"] if request else new, request is not None))
    return found
