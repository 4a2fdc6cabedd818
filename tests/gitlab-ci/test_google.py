"""The job that pushes to Artifact Registry: from GitLab's token to the one that Google's registry takes.

The job's own script runs, with the real credential helper and a token service of the test's in the place of Google's.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from files import documents, inputs
from project import RUNNER
from services import ENGINE, ROOT

JOB = ROOT / "ci" / "push-google.yml"
HOST = "europe-docker.pkg.dev"
PROVIDER = "projects/1/locations/global/workloadIdentityPools/gitlab/providers/gitlab"
ID_TOKEN = "header.claims.signature"

# In the place of imgpush: shows whom the registry would see.
WHO = """#!/bin/sh
cat "$HOME/.docker/config.json" >&2
echo europe-docker.pkg.dev | docker-credential-gcr get >&2
echo IMAGE=pushed
"""


class TokenService(ThreadingHTTPServer):
    """Exchanges tokens, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.asked: list[tuple[str, dict]] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class Exchange(BaseHTTPRequestHandler):
    """One exchange, of a federated token or of a service account's."""

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """Answers as Google does."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.path, parse_qs(body)))
        if self.path == "/v1/token":
            answer = {
                "access_token": "federated-token",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 3600,
            }
        else:
            answer = {"accessToken": "account-token", "expireTime": "2099-01-01T00:00:00Z"}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class PushToGoogle(unittest.TestCase):
    """push-google.yml's script."""

    @classmethod
    def setUpClass(cls) -> None:
        ENGINE.up()
        RUNNER.up()
        packaging = ROOT / "scripts" / "packaging"
        helper = subprocess.run(
            [packaging / "go-program", platform.machine(), "docker-credential-gcr"], stdout=subprocess.PIPE, text=True, check=True
        )
        cls.helper = Path(helper.stdout.strip())
        cls.service = TokenService()
        threading.Thread(target=cls.service.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.service.server_close)
        cls.addClassCleanup(cls.service.shutdown)

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.service.asked.clear()

    def script(self, **given: str) -> str:
        """The job's script with its inputs filled in."""
        values = {name: value.get("default", "") for name, value in inputs(JOB).items()}
        values.update({name.replace("_", "-"): value for name, value in given.items()})
        text = re.sub(r"\$\[\[ inputs\.([a-z-]+) \]\]", lambda found: str(values[found[1]]), JOB.read_text())
        return "\n".join(documents(text)[-1]["push"]["script"])

    def run_job(self, **given: str) -> str:
        """Runs the script; returns what the helper told the registry's client."""
        for name, text in {"imgtag": "#!/bin/sh\necho 4b1c9e2d5f60\n", "imgpush": WHO}.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        done = subprocess.run(
            [
                "sh",
                "-euc",
                self.script(image=f"{HOST}/project/images/app", workload_identity_provider=PROVIDER, **given),
            ],
            cwd=self.folder,
            env={
                "PATH": f"{self.folder}:{self.helper.parent}:{os.environ['PATH']}",
                "GOOGLE_ID_TOKEN": ID_TOKEN,
                "GOOGLE_STS": f"{self.service.url}/v1/token",
                "GOOGLE_IAM": f"{self.service.url}/v1",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertNotIn(ID_TOKEN, done.stdout + done.stderr)
        self.assertIn(f'{{"credHelpers": {{"{HOST}": "gcr"}}}}', done.stderr)
        self.assertEqual((self.folder / "push.env").read_text(), "IMAGE=pushed\nIMAGE_TAG=4b1c9e2d5f60\n")
        return done.stderr

    def test_the_job_s_token_becomes_google_s(self) -> None:
        self.assertIn('"Secret":"federated-token"', self.run_job(service_account=""))
        ((path, form),) = self.service.asked
        self.assertEqual(path, "/v1/token")
        self.assertEqual(form["subject_token"], [ID_TOKEN])
        self.assertEqual(form["audience"], [f"//iam.googleapis.com/{PROVIDER}"])

    def test_a_service_account_is_acted_for(self) -> None:
        account = "pusher@project.iam.gserviceaccount.com"
        self.assertIn('"Secret":"account-token"', self.run_job(service_account=account))
        self.assertEqual(
            [path for path, _ in self.service.asked],
            ["/v1/token", f"/v1/projects/-/serviceAccounts/{account}:generateAccessToken"],
        )


if __name__ == "__main__":
    unittest.main()
