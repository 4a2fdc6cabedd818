"""The Kubernetes cluster as its operator sees it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request

from services import ServiceError

NAMESPACE = "hello"
APPLICATION = "hello-python"


class Cluster:
    """kubectl with one kubeconfig, and a door to the services inside."""

    def __init__(self, kubectl: str, kubeconfig: str | None) -> None:
        self._kubectl = [kubectl, *(["--kubeconfig", kubeconfig] if kubeconfig else [])]
        self._door: subprocess.Popen | None = None
        self._address = ""

    def kubectl(self, *words: str, document: str | None = None, check: bool = True) -> str:
        """Runs kubectl; `document` is its stdin."""
        done = subprocess.run([*self._kubectl, *words], input=document, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise ServiceError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *documents: dict) -> None:
        """Applies objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.kubectl("apply", "-f", "-", document=text)

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict | None:
        """An object, or None where it is not there."""
        text = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def forget(self, *namespaces: str) -> None:
        """Deletes namespaces and waits until they are gone."""
        self.kubectl("delete", "namespace", "--ignore-not-found", "--wait", "--timeout=120s", *namespaces)

    def registry_secret(self, namespace: str, registry: str, user: str, password: str) -> dict:
        """The Secret that lets the namespace's pods pull."""
        login = {"auths": {registry: {"username": user, "password": password}}}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "registry", "namespace": namespace},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps(login)},
        }

    def nodes(self) -> str:
        """Its nodes, in a line."""
        return self.kubectl("get", "nodes", "--no-headers").strip()

    def open_door(self) -> None:
        """Starts `kubectl proxy`, through which the API server forwards requests to services."""
        self._door = subprocess.Popen([*self._kubectl, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
        line = self._door.stdout.readline() if self._door.stdout else ""
        self._address = line.rsplit(" ", 1)[-1].strip()
        if not self._address.startswith("127."):
            raise ServiceError(f"kubectl proxy did not say where it listens: {line!r}")

    def close_door(self) -> None:
        """Ends `kubectl proxy`."""
        if self._door is not None:
            self._door.terminate()
            self._door.wait()
            self._door = None

    def ask(self, path: str, namespace: str = NAMESPACE) -> tuple[int, str]:
        """What the application's service answers to `GET path`: status and body."""
        url = f"http://{self._address}/api/v1/namespaces/{namespace}/services/{APPLICATION}:http/proxy{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def version(self) -> str | None:
        """The commit that the application says it was built from."""
        status, body = self.ask("/version")
        return json.loads(body)["commit"] if status == 200 else None


class Visitor:
    """Somebody who asks the application the same thing over and over, and counts what went wrong."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self.versions: list[str] = []
        self._thread = threading.Thread(target=self._visit, daemon=True)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._stop.wait(0.05):
            status, body = self._cluster.ask("/version")
            if status != 200:
                self.failures.append(f"{time.strftime('%T')} {status} {body[:80]}")
                continue
            self.answers += 1
            commit = json.loads(body)["commit"]
            if not self.versions or self.versions[-1] != commit:
                self.versions.append(commit)
