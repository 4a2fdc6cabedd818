"""The programs we compare with, installed from package registries into the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measure import CACHE

PEERS = CACHE / "peers"


def _once(name: str, make: Callable[[Path], None]) -> Path:
    folder, complete = PEERS / name, PEERS / f"{name}.complete"
    if not complete.exists():
        print(f"installing {name}, once", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        complete.touch()
    return folder


def python(*requirements: str) -> Path:
    """The programs' folder of a virtual environment with these requirements, each `package==version`."""

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", *requirements], check=True)

    return _once("-".join(["python", *requirements]).replace("==", "-"), make) / "bin"


def go(package: str, version: str) -> Path:
    """The program of a Go package, `go install`ed without cgo."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0", "GOFLAGS": "-trimpath -ldflags=-s"}
        subprocess.run(["go", "install", f"{package}@{version}"], check=True, env=environment)

    name = re.sub(r"/v\d+$", "", package).rsplit("/", 1)[1]
    return next(_once(f"{name}-{version}", make).iterdir())


def crane() -> Path:
    """The program of go-containerregistry."""
    return go("github.com/google/go-containerregistry/cmd/crane", "v0.22.1")


def go_module(module: Path, package: str) -> Path:
    """The program of a package that the module there, with its go.sum, contains or requires."""

    def make(folder: Path) -> None:
        flags = ["-mod=readonly", "-trimpath", "-ldflags=-s -w"]
        command = ["go", "build", *flags, "-o", folder / module.name, package]
        subprocess.run(command, check=True, cwd=module, env={**os.environ, "CGO_ENABLED": "0"})

    version = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(module.iterdir()))).hexdigest()[:12]
    return _once(f"{module.name}-{version}", make) / module.name


def debian(program: str, package: str) -> Path:
    """A program of a Debian package."""
    found = shutil.which(program)
    if not found:
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True, stdout=sys.stderr)
        found = shutil.which(program)
    assert found, f"{package} has no {program}"
    return Path(found)
