"""k8s-sync as a Deployment in the cluster, as its operator installs it."""

from __future__ import annotations

import shutil
from pathlib import Path

from cluster import NAMESPACE, Cluster
from services import ROOT
from world import TARGET, World

MANIFESTS = ROOT / "tools" / "k8s-sync" / "deploy"
OPERATOR_NAMESPACE = "k8s-sync"
APPLICATION = "hello-python"


def image(world: World) -> str:
    """Builds and pushes the image that k8s-sync runs from; returns its reference with the digest."""
    folder = world.folder / "operator"
    folder.mkdir(exist_ok=True)
    shutil.copy2(world.equipment.tools / "k8s-sync", folder / "k8s-sync")
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY k8s-sync /k8s-sync\nUSER 65532\nENTRYPOINT ["/k8s-sync"]\n')
    reference = f"{world.registry.host}/k8s-sync:{world.tool('k8s-sync', '--version').split()[-1]}"
    world.docker("build", "-q", "-t", reference, str(folder))
    return world.tool("imgpush", reference)
