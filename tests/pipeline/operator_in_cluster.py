"""k8s-sync as a Deployment in the cluster, as its operator installs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from cluster import APPLICATION, NAMESPACE, Cluster
from services import CLUSTER, ROOT
from world import TARGET, World

MANIFEST = ROOT / "tools" / "k8s-sync" / "deploy" / "k8s-sync.yml"
OPERATOR = "k8s-sync"
# Seconds: who looks on should not have to wait for half a minute.
POLL = "2"


def install(world: World, cluster: Cluster, own_cluster: bool) -> str:
    """Installs the operator for the world's manifests; returns its image's reference."""
    image = push_image(world)
    if own_cluster:
        trust_registry(world)
    follows = {
        "APPLICATION": APPLICATION,
        "K8S_SYNC_REPO": world.manifests_url,
        "K8S_SYNC_REVISION": TARGET,
        "K8S_SYNC_PATH": "manifests",
        "K8S_SYNC_DEST_NAMESPACE": NAMESPACE,
        "K8S_SYNC_POLL": POLL,
    }
    cluster.apply(
        *(named("v1", "Namespace", name) for name in (OPERATOR, NAMESPACE)),
        *(pull_secret(world, cluster, namespace) for namespace in (OPERATOR, NAMESPACE)),
        {**named("v1", "ConfigMap", OPERATOR, OPERATOR), "data": follows},
        {**named("v1", "Secret", OPERATOR, OPERATOR), "stringData": forge_access(world)},
    )
    manifest = world.tool("manifest-patch", "--container", OPERATOR, "--image", image, document=MANIFEST.read_text())
    cluster.kubectl("apply", "-f", "-", document=manifest)
    move_to_host_network(cluster)
    return image


def trust_registry(world: World) -> None:
    """Has the cluster's node trust the world's registry."""
    CLUSTER.call("trust", world.registry.host, str(world.registry.ca))


def forge_access(world: World) -> dict[str, str]:
    """What the operator reads the manifests with."""
    return {
        "SSH_PRIVATE_KEY": world.forge.bot.key.read_text(),
        "SSH_KNOWN_HOSTS": world.forge.known_hosts.read_text(),
    }


def pull_secret(world: World, cluster: Cluster, namespace: str) -> dict:
    """The Secret with which the namespace's pods pull."""
    registry = world.registry
    return cluster.registry_secret(namespace, registry.host, registry.user, registry.password)


def move_to_host_network(cluster: Cluster) -> None:
    """The forge is on this machine's loopback, which only the node's own network reaches; there two replicas would want
    the same port."""
    pod = {"spec": {"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}, "template": {"spec": {"hostNetwork": True}}}}
    cluster.kubectl("-n", OPERATOR, "patch", "deployment", OPERATOR, "--type=merge", "-p", json.dumps(pod))


def push_image(world: World, *beside: Path) -> str:
    """Builds and pushes the image that k8s-sync runs from, with other programs beside it."""
    folder = world.folder / "operator"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    for program in (world.equipment.tools / OPERATOR, *beside):
        shutil.copy2(program, folder / "bin" / program.name)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY bin /usr/local/bin/\nENV PATH=/usr/local/bin\nUSER 65532\n")
    variant = "-".join([world.tool(OPERATOR, "--version").split()[-1], *(program.name for program in beside)])
    reference = f"{world.registry.host}/{OPERATOR}:{variant}"
    world.docker("build", "-q", "-t", reference, str(folder))
    return world.tool("imgpush", reference)


def logs(cluster: Cluster) -> str:
    """What the operator has said lately."""
    return cluster.kubectl("-n", OPERATOR, "logs", f"deployment/{OPERATOR}", "--tail=30", check=False)


def named(version: str, kind: str, name: str, namespace: str | None = None) -> dict:
    """The beginning of an object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
