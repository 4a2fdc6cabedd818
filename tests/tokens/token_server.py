"""A token server for a registry, whose tokens live as long as is asked for.

    token_server.py --port N --key FILE --certificate FILE --user NAME --password-file FILE [--life SECONDS]

Speaks the distribution project's "Token Authentication Specification" on loopback: `GET /token` with the user's
password, or `POST /token` with a refresh token of the same text, answers a JWT (RS256, signed by openssl) that allows
what `scope` asks for.
"""

from __future__ import annotations

import argparse
import base64
import http.server
import json
import ssl
import subprocess
import time
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def encoded(data: bytes) -> str:
    """Base64 for URLs, without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(options: argparse.Namespace, service: str, scopes: list[str]) -> str:
    """A token for a registry that trusts the certificate."""
    der = ssl.PEM_cert_to_DER_cert(options.certificate.read_text())
    head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    access = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    body = {
        "iss": "gitops-steps", "sub": options.user, "aud": service, "exp": now + options.life, "nbf": now - 1, "iat": now,
        "jti": str(uuid.uuid4()), "access": access,
    }
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, body))
    command = ["openssl", "dgst", "-sha256", "-sign", options.key]
    return f"{signed}.{encoded(subprocess.run(command, input=signed.encode(), check=True, capture_output=True).stdout)}"


class TokenServer(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    options: argparse.Namespace

    def do_GET(self) -> None:
        """A user asks."""
        password = self.options.password_file.read_text().strip()
        given = base64.b64encode(f"{self.options.user}:{password}".encode()).decode()
        self.decide(self.headers.get("Authorization") == f"Basic {given}", urlsplit(self.path).query)

    def do_POST(self) -> None:
        """Somebody with a refresh token asks."""
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        known = parse_qs(form).get("refresh_token") == [self.options.password_file.read_text().strip()]
        self.decide(known, form)

    def decide(self, known: bool, query: str) -> None:
        """Answers with a token, or 401."""
        asked = parse_qs(query)
        scopes = [scope for text in asked.get("scope", []) for scope in text.split()]
        answer = {}
        if known:
            jwt = token(self.options, asked.get("service", [""])[0], scopes)
            answer = {"token": jwt, "access_token": jwt, "expires_in": self.options.life}
        body = json.dumps(answer).encode()
        self.send_response_only(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """The registry's log says what became of the tokens."""


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description="a token server for a registry")
    parser.add_argument("--port", type=int, required=True)
    for name in ("key", "certificate", "password-file"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--life", type=int, default=2)
    handler = type("Handler", (TokenServer,), {"options": parser.parse_args()})
    http.server.ThreadingHTTPServer(("127.0.0.1", handler.options.port), handler).serve_forever()


if __name__ == "__main__":
    main()
