"""Git over HTTP and HTTPS, and the API, as clients meet them."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import server
from workplace import URL, Workplace

TOKEN = "t0ken"
REQUESTS = "/api/v4/projects/group%2Fapp/merge_requests"


class Http(Workplace):
    def setUp(self) -> None:
        super().setUp()
        self.port = self.listen(None)
        self.git("checkout", "-q", "-b", "argocd/x")
        self.commit("Two", "two\n")

    def listen(self, context: ssl.SSLContext | None) -> int:
        listening = server.listen(self.root, TOKEN, 0, context)
        listening.RequestHandlerClass.log_message = lambda *_: None
        self.addCleanup(listening.server_close)
        self.addCleanup(listening.shutdown)
        return listening.server_port

    def url(self, token: str = TOKEN) -> str:
        return f"http://oauth2:{token}@127.0.0.1:{self.port}/group/app.git"

    def api(self, method: str, path: str, body: dict | None = None, token: str = TOKEN):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        self.addCleanup(connection.close)
        headers = {"PRIVATE-TOKEN": token, "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def test_push_and_partial_clone(self) -> None:
        pushed = self.push("argocd/x", options=["mr.create"], url=self.url())
        self.assertIn(f"{URL}/group/app/-/merge_requests/1", pushed.stderr)
        # More than http.postBuffer: in chunks.
        self.commit("Big", "".join(f"{number * number}\n" for number in range(400_000)))
        self.push("argocd/x", url=self.url())
        self.git(
            "clone", "-q", "--depth=1", "--filter=blob:none", "--no-checkout", "-b", "argocd/x", self.url(), "shallow"
        )
        self.assertEqual(self.git("-C", "shallow", "log", "--format=%s").stdout, "Big\n")

    def test_wrong_token_and_missing_project(self) -> None:
        self.assertIn("Authentication failed", self.git("ls-remote", self.url("no"), check=False).stderr)
        self.assertIn("not found", self.git("ls-remote", self.url().replace("app", "no"), check=False).stderr)
        self.assertEqual(self.api("GET", REQUESTS, token="no"), (401, {"message": "401 Unauthorized"}))
        self.assertEqual(self.api("GET", "/api/v4/projects/no%2F..%2F.."), (404, {"message": "404 Project Not Found"}))

    def test_expired_token(self) -> None:
        self.set("gitlab.expired", "true")
        self.assertIn("Authentication failed", self.git("ls-remote", self.url(), check=False).stderr)
        self.assertEqual(
            self.api("GET", REQUESTS), (401, {"error": "invalid_token", "error_description": server.EXPIRED})
        )

    def test_private_ca(self) -> None:
        key, certificate = self.folder / "key", self.folder / "certificate"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        url = f"https://oauth2:{TOKEN}@127.0.0.1:{self.listen(context)}/group/app.git"
        self.assertNotEqual(self.git("ls-remote", url, check=False).returncode, 0)
        trusting = {"GIT_SSL_CAINFO": str(certificate)}
        self.assertIn("refs/heads/main", self.git("ls-remote", url, environment=trusting).stdout)

    def test_merge_request_from_its_making_to_its_merge(self) -> None:
        self.push("argocd/x")
        self.assertEqual(self.api("GET", f"{REQUESTS}?source_branch=argocd/x&state=opened"), (200, []))
        wanted = {"source_branch": "argocd/x", "target_branch": "main", "title": "T", "labels": "a,b",
                  "remove_source_branch": True}  # fmt: skip
        status, made = self.api("POST", REQUESTS, wanted)
        self.assertEqual(
            (status, made["iid"], made["labels"], made["force_remove_source_branch"]), (201, 1, ["a", "b"], True)
        )
        self.assertEqual(
            self.api("POST", REQUESTS, wanted),
            (409, {"message": ["Another open merge request already exists for this source branch: !1"]}),
        )
        self.assertEqual(
            [one["iid"] for one in self.api("GET", f"{REQUESTS}?source_branch=argocd/x&state=opened")[1]], [1]
        )

        me = self.api("GET", "/api/v4/users?username=robot")[1][0]["id"]
        status, changed = self.api("PUT", f"{REQUESTS}/1", {"title": "U", "reviewer_ids": [me], "add_labels": "c"})
        self.assertEqual((status, changed["title"], changed["labels"]), (200, "U", ["a", "b", "c"]))
        self.assertEqual(changed["reviewers"], [{"id": me, "username": "robot"}])
        self.assertEqual(self.api("PUT", f"{REQUESTS}/1", {"labels": "z"})[1]["labels"], ["z"])

        self.set("gitlab.mergeableAfter", "3600000")
        self.assertEqual(self.api("PUT", f"{REQUESTS}/1/merge"), (405, {"message": "405 Method Not Allowed"}))
        self.git("config", "--file", self.repository / "config", "--unset", "gitlab.mergeableAfter")
        self.assertEqual(self.api("PUT", f"{REQUESTS}/1/merge")[1]["state"], "merged")
        self.git("fetch", "-q", str(self.repository), "main")
        self.assertEqual(self.git("show", "FETCH_HEAD:file").stdout, "two\n")

    def test_milestones_have_numbers(self) -> None:
        self.set("gitlab.milestone", "1.0", "2.0")
        [milestone] = self.api("GET", f"{REQUESTS.rpartition('/')[0]}/milestones?title=2.0")[1]
        self.push("argocd/x", options=["mr.create"])
        changed = self.api("PUT", f"{REQUESTS}/1", {"milestone_id": milestone["id"]})[1]
        self.assertEqual(changed["milestone"], {"title": "2.0"})

    def test_refused_requests(self) -> None:
        self.push("argocd/x")
        for body, expected in (
            ({"source_branch": "argocd/x"}, (400, "target_branch is missing, title is missing")),
            (
                {"source_branch": "argocd/x", "target_branch": "no", "title": "T"},
                (422, ['Target branch "no" does not exist']),
            ),
        ):
            self.assertEqual(self.api("POST", REQUESTS, body), (expected[0], {"message": expected[1]}))
        self.assertEqual(self.api("GET", f"{REQUESTS}/9")[0], 404)

    def test_closes_and_reopens(self) -> None:
        self.push("argocd/x", options=["mr.create"])
        for event, state in (("close", "closed"), ("reopen", "opened")):
            self.assertEqual(self.api("PUT", f"{REQUESTS}/1", {"state_event": event})[1]["state"], state)


if __name__ == "__main__":
    unittest.main()
