"""GitLab over HTTP on loopback: its REST API for merge requests, and Git over HTTP by git's own http-backend.

    server.py --root DIR --token-file FILE [--port N] [--tls-port N --certificate FILE --key FILE [--client-ca FILE]]

The repositories under DIR are those of `project.py`; the merge requests are the hook's. Prints its ports as JSON once
it listens. Git takes the token as a basic password of any user (`oauth2:TOKEN`), the API as PRIVATE-TOKEN or bearer.

    GET  /api/v4/version, /api/v4/user, /api/v4/users?username=, /api/v4/projects/:path
    GET  /api/v4/projects/:path/merge_requests?source_branch=&target_branch=&state=
    POST /api/v4/projects/:path/merge_requests
    GET, PUT /api/v4/projects/:path/merge_requests/:iid
    PUT  /api/v4/projects/:path/merge_requests/:iid/merge
    GET  /api/v4/projects/:path/milestones?title=

Projects are named by their URL-encoded paths, not by numbers; the numbers of `robot`, of each `gitlab.member` and of each
`gitlab.milestone` are what `users` and `milestones` say. Source of the rules: doc/api/merge_requests.md, milestones.md.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import hmac
import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent))

import merge_requests
from project import Project

GIT = re.compile(r"/(?P<name>.+)\.git/(?P<service>info/refs|git-upload-pack|git-receive-pack)")
PROJECT = re.compile(r"/api/v4/projects/(?P<path>[^/]+)")
LIST = re.compile(PROJECT.pattern + r"/merge_requests")
ONE = re.compile(LIST.pattern + r"/(?P<iid>\d+)")
MERGE = re.compile(ONE.pattern + r"/merge")
MILESTONES = re.compile(PROJECT.pattern + r"/milestones")

EXPIRED = "Token is expired. You can either do re-authorization or token refresh."

# What POST and PUT call the fields of a merge request that have another name in its object.
FIELDS = {
    "remove_source_branch": "force_remove_source_branch",
    "assignee_ids": "assignees",
    "reviewer_ids": "reviewers",
}


class Refusal(Exception):
    """An answer that is not a success: its status, and what `message` says."""

    def __init__(self, status: int, message) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Gitlab(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    disable_nagle_algorithm = True
    root: Path
    token: str

    def do_GET(self) -> None:
        """Any request; http.server calls a method per verb."""
        self.address = urlsplit(self.path)
        if git := GIT.fullmatch(self.address.path):
            self.serve_git(git["name"], git["service"])
        else:
            self.serve_api()

    do_POST = do_PUT = do_GET

    def body(self):
        """The request's body in pieces, whether its length is told or it comes in chunks."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def is_token(self, text: str) -> bool:
        """Whether it is the token, told in constant time."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    # Git

    def is_expired(self, repository: Path | None) -> bool:
        """Whether the token is no longer good for a project."""
        return repository is not None and Project(repository).setting("expired", "false") == "true"

    def serve_git(self, name: str, service: str) -> None:
        """Runs git http-backend (RFC 3875) and passes its answer on as it comes."""
        kind, _, credentials = self.headers.get("Authorization", "").partition(" ")
        try:
            password = base64.b64decode(credentials).decode().partition(":")[2] if kind.lower() == "basic" else ""
        except ValueError:
            password = ""
        pieces = self.body()
        repository = self.repository(name)
        if not self.is_token(password) or self.is_expired(repository):
            for _ in pieces:
                pass
            self.plain(401, "HTTP Basic: Access denied.", [("WWW-Authenticate", 'Basic realm="GitLab"')])
            return
        if repository is None:
            self.plain(
                404, "The project you were looking for could not be found or you don't have permission to view it."
            )
            return
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": f"/{name}.git/{service}",
            "QUERY_STRING": self.address.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_USER": "oauth2",
            "REMOTE_ADDR": "127.0.0.1",
        }
        with subprocess.Popen(
            ["git", "http-backend"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as backend:
            feeder = threading.Thread(target=self.feed, args=(backend.stdin, pieces))
            feeder.start()
            status, headers = "200 OK", []
            while line := backend.stdout.readline().strip():
                key, _, value = line.decode().partition(": ")
                if key == "Status":
                    status = value
                else:
                    headers.append((key, value))
            code, _, reason = status.partition(" ")
            self.send_response(int(code), reason)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while piece := backend.stdout.read1(1 << 16):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            feeder.join()
            self.wfile.write(b"0\r\n\r\n")

    @staticmethod
    def feed(stdin, pieces) -> None:
        """Gives the backend the request's body; reads all of it even where the backend does not."""
        for piece in pieces:
            try:
                stdin.write(piece)
            except BrokenPipeError:
                pass
        try:
            stdin.close()
        except BrokenPipeError:
            pass

    def plain(self, status: int, text: str, headers=()) -> None:
        """An answer for a Git client."""
        self.send_response(status)
        for key, value in (("Content-Type", "text/plain; charset=utf-8"), *headers):
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def repository(self, name: str) -> Path | None:
        """The folder of a repository below the root."""
        folder = (self.root / f"{name}.git").resolve()
        return folder if self.root in folder.parents and (folder / "HEAD").is_file() else None

    # API

    def serve_api(self) -> None:
        """One request of the REST API."""
        body = b"".join(self.body())
        try:
            status, answer = self.api(self.address.path, self.parameters(body))
        except Refusal as refusal:
            # OAuth's words (RFC 6750) where the token was good once.
            expired = {"error": "invalid_token", "error_description": EXPIRED}
            status, answer = refusal.status, expired if refusal.message == EXPIRED else {"message": refusal.message}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def parameters(self, body: bytes) -> dict:
        """The query's parameters and the body's, which is JSON or a form."""
        parameters = {key: values[-1] for key, values in parse_qs(self.address.query).items()}
        if self.headers.get("Content-Type", "").startswith("application/json"):
            try:
                parameters.update(json.loads(body or b"{}"))
            except ValueError:
                raise Refusal(400, "400 Bad request") from None
        else:
            parameters.update({key: values[-1] for key, values in parse_qs(body.decode()).items()})
        return parameters

    def api(self, path: str, parameters: dict):
        """Status and answer."""
        kind, _, bearer = self.headers.get("Authorization", "").partition(" ")
        token = self.headers.get("PRIVATE-TOKEN") or (bearer if kind.lower() == "bearer" else "")
        if not self.is_token(token):
            raise Refusal(401, "401 Unauthorized")
        if (self.command, path) == ("GET", "/api/v4/version"):
            return 200, {"version": "18.5.0", "revision": "0000000", "enterprise": False}
        if (self.command, path) == ("GET", "/api/v4/user"):
            return 200, {"id": name_id("robot"), "username": "robot", "state": "active"}
        if (self.command, path) == ("GET", "/api/v4/users"):
            name = parameters.get("username", "robot")
            return 200, [{"id": name_id(name), "username": name, "state": "active"}]
        found = PROJECT.match(path)
        repository = self.repository(unquote(found["path"])) if found else None
        if repository is None:
            raise Refusal(404, "404 Project Not Found" if found else "404 Not Found")
        if self.is_expired(repository):
            raise Refusal(401, EXPIRED)
        project = Project(repository)
        if MILESTONES.fullmatch(path) and self.command == "GET":
            title = parameters.get("title")
            return 200, [
                {"id": name_id(name), "title": name, "state": "active"}
                for name in project.every("milestone")
                if title in (None, name)
            ]
        if self.command == "GET" and PROJECT.fullmatch(path):
            return 200, {
                "path_with_namespace": project.path,
                "default_branch": project.default_branch,
                "web_url": project.url,
            }
        with project.records() as records:
            try:
                status, answer = self.merge_requests(project, records["requests"], path, parameters)
                return status, [shown(one) for one in answer] if isinstance(answer, list) else shown(answer)
            except merge_requests.Refused as refused:
                raise Refusal(409 if "already exists" in str(refused) else 422, [str(refused)]) from None

    def merge_requests(self, project: Project, requests: list[dict], path: str, parameters: dict):
        """The part of the API below `/merge_requests`."""
        if LIST.fullmatch(path) and self.command == "GET":
            asked = {key: parameters[key] for key in ("source_branch", "target_branch", "state") if key in parameters}
            if asked.get("state") == "all":
                del asked["state"]
            return 200, [one for one in reversed(requests) if all(one[key] == value for key, value in asked.items())]
        if LIST.fullmatch(path) and self.command == "POST":
            missing = [key for key in ("source_branch", "target_branch", "title") if not parameters.get(key)]
            if missing:
                raise Refusal(400, ", ".join(f"{key} is missing" for key in missing))
            return 201, merge_requests.create(
                project, requests, parameters["source_branch"], wanted(project, parameters)
            )
        one = ONE.match(path)
        request = next((request for request in requests if one and request["iid"] == int(one["iid"])), None)
        if request is None:
            raise Refusal(404, "404 Not found")
        if ONE.fullmatch(path) and self.command == "GET":
            return 200, request
        if ONE.fullmatch(path) and self.command == "PUT":
            merge_requests.change(project, request, wanted(project, parameters))
            request["state"] = {"close": "closed", "reopen": "opened"}.get(
                parameters.get("state_event"), request["state"]
            )
            return 200, request
        if MERGE.fullmatch(path) and self.command == "PUT":
            merge(project, request, parameters)
            return 200, request
        raise Refusal(405, "405 Method Not Allowed")


def name_id(name: str) -> int:
    """The number by which POST and PUT name a user or a milestone."""
    return zlib.crc32(name.encode())


def shown(request: dict) -> dict:
    """A merge request as the API shows it, with users as objects."""
    users = {
        field: [{"id": name_id(name), "username": name} for name in request[field]]
        for field in ("assignees", "reviewers")
    }
    milestone = request["milestone"] and {"title": request["milestone"]}
    return {**request, **users, "author": {"username": request["author"]}, "milestone": milestone}


def wanted(project: Project, parameters: dict) -> dict:
    """A POST's or PUT's parameters as changes to a merge request."""
    change = {FIELDS.get(key, key): value for key, value in parameters.items()}
    members = {name_id(name): name for name in [project.user, *project.every("member")]}
    for field in ("assignees", "reviewers"):
        if field in change:
            change[field] = [members[number] for number in change[field] if number in members]
    milestones = {name_id(name): name for name in project.every("milestone")}
    if "milestone_id" in change:
        change["milestone"] = milestones.get(change.pop("milestone_id"))
    for field in ("labels", "add_labels", "remove_labels"):
        if isinstance(change.get(field), str):
            change[field] = [label for label in change[field].split(",") if label]
    return change


def merge(project: Project, request: dict, parameters: dict) -> None:
    """Merges by a merge commit, or notes that it shall be done when the pipeline has succeeded."""
    if request["state"] != "opened":
        raise Refusal(405, "405 Method Not Allowed")
    if parameters.get("auto_merge") or parameters.get("merge_when_pipeline_succeeds"):
        request["merge_when_pipeline_succeeds"] = True
        return
    made = datetime.datetime.fromisoformat(request["created_at"])
    age = datetime.datetime.now(datetime.timezone.utc) - made
    if age.total_seconds() * 1000 < int(project.setting("mergeableAfter", "0")):
        raise Refusal(405, "405 Method Not Allowed")
    source, target = project.branch(request["source_branch"]), project.branch(request["target_branch"])
    tree = project.git("merge-tree", "--write-tree", target, source, check=False)
    if tree.returncode:
        raise Refusal(406, "Branch cannot be merged")
    identity = ["-c", f"user.name={project.user}", "-c", f"user.email={project.user}@example.invalid"]
    message = f"Merge branch '{request['source_branch']}' into '{request['target_branch']}'"
    commit = project.git(
        *identity, "commit-tree", tree.stdout.split()[0], "-p", target, "-p", source, "-m", message
    ).stdout.strip()
    project.git("update-ref", f"refs/heads/{request['target_branch']}", commit, target)
    request["state"] = "merged"
    request["merge_commit_sha"] = commit


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of a client that ends a handshake or a connection early; that client's own test does."""

    def handle_error(self, request, client_address) -> None:
        """Called with the exception that ended a connection."""
        if not isinstance(sys.exc_info()[1], (ssl.SSLError, ConnectionError)):
            super().handle_error(request, client_address)


def listen(root: Path, token: str, port: int, context: ssl.SSLContext | None) -> Server:
    """A server on a loopback port, in a thread."""
    handler = type("Handler", (Gitlab,), {"root": root.resolve(), "token": token})
    server = Server(("127.0.0.1", port), handler)
    if context:
        # The handshake is made in the connection's own thread, by its first read.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description="GitLab over HTTP on loopback")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--client-ca", type=Path, help="whose certificates clients must show")
    options = parser.parse_args()
    token = options.token_file.read_text(encoding="utf-8").strip()
    ports = {"http": listen(options.root, token, options.port, None).server_port}
    if options.tls_port is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        if options.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(options.client_ca)
        ports["https"] = listen(options.root, token, options.tls_port, context).server_port
    print(json.dumps(ports), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
