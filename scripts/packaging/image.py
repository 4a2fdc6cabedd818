"""An OCI image archive of folders, one a platform; the same folders give the same bytes.

    image.py --name REPOSITORY:TAG --label KEY=VALUE … --platform linux/amd64=FOLDER … ARCHIVE

Every file belongs to root and has the time SOURCE_DATE_EPOCH (0 without). The archive is an OCI layout with an index of
all platforms; beside it, for engines before Docker 25, stands what `docker load` reads, with the first platform alone.
The image runs as USER, whose home and /tmp are the only folders it may write to.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

USER = 65532
HOME = "home/steps"
CONFIG = {
    "User": f"{USER}:{USER}",
    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", f"HOME=/{HOME}", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
    "WorkingDir": f"/{HOME}",
    "Cmd": ["/bin/sh"],
}
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)


def entry(name: str, mode: int, kind: bytes = tarfile.REGTYPE, owner: int = 0) -> tarfile.TarInfo:
    """A tar entry in which nothing depends on the machine."""
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.mtime = mode, kind, EPOCH
    info.uid = info.gid = owner
    return info


def writable(name: str) -> tuple[int, int]:
    """A folder's mode and owner."""
    return {"tmp": (0o1777, 0), HOME: (0o750, USER)}.get(name, (0o755, 0))


def layer(folder: Path) -> bytes:
    """The folder as a tar: sorted, with modes of two kinds only."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                info = entry(name, 0o777, tarfile.SYMTYPE)
                info.linkname = os.readlink(path)
                tar.addfile(info)
            elif path.is_dir():
                mode, owner = writable(name)
                tar.addfile(entry(name, mode, tarfile.DIRTYPE, owner))
            else:
                info = entry(name, 0o755 if os.access(path, os.X_OK) else 0o644)
                info.size = path.stat().st_size
                with path.open("rb") as content:
                    tar.addfile(info, content)
    return out.getvalue()


class Layout:
    """The blobs of an OCI layout, by their digests."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, content: bytes, kind: str) -> dict:
        """Stores a blob; returns its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, value: object, kind: str) -> dict:
        """Stores a document."""
        return self.add(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), kind)

    def image(self, platform: dict[str, str], folder: Path, labels: dict[str, str]) -> dict:
        """Stores one platform's image; returns its manifest's descriptor."""
        content = layer(folder)
        created = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        config = {
            **platform,
            "created": created,
            "config": {**CONFIG, "Labels": {**labels, "org.opencontainers.image.created": created}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
            "history": [{"created": created, "created_by": "scripts/dist"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.add_json(config, "config.v1+json"),
            "layers": [self.add(gzip.compress(content, 6, mtime=0), "layer.v1.tar+gzip")],
        }
        return {**self.add_json(manifest, "manifest.v1+json"), "platform": platform}

    def files(self, name: str, images: list[dict]) -> Iterator[tuple[str, bytes]]:
        """The archive's files."""
        tag = name.rsplit(":", 1)[1]
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images}
        named = {**self.add_json(index, "index.v1+json"), "annotations": {"org.opencontainers.image.ref.name": tag}}
        first = json.loads(self.blobs[blob_of(images[0])])
        loadable = {
            "Config": blob_of(first["config"]),
            "RepoTags": [name],
            "Layers": [blob_of(each) for each in first["layers"]],
        }
        yield from sorted(self.blobs.items())
        yield "index.json", json.dumps({**index, "manifests": [named]}).encode()
        yield "manifest.json", json.dumps([loadable]).encode()
        yield "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'


def blob_of(descriptor: dict) -> str:
    """Where a descriptor's blob is."""
    return "blobs/" + descriptor["digest"].replace(":", "/")


def pair(text: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, _, value = text.partition("=")
    return key, value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--label", type=pair, action="append", default=[])
    parser.add_argument("--platform", type=pair, action="append", required=True)
    parser.add_argument("archive", type=Path)
    wanted = parser.parse_args()
    layout = Layout()
    images = []
    for platform, folder in wanted.platform:
        system, architecture = platform.split("/")
        images.append(layout.image({"os": system, "architecture": architecture}, Path(folder), dict(wanted.label)))
    with tarfile.open(wanted.archive, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in layout.files(wanted.name, images):
            info = entry(name, 0o644)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    main()
