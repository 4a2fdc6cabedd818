"""k8s-sync as a Deployment in the cluster, as its operator installs it."""

from __future__ import annotations

import json
import shutil

from cluster import APPLICATION, NAMESPACE, Cluster
from services import CLUSTER, ROOT
from world import TARGET, World

MANIFEST = ROOT / "tools" / "k8s-sync" / "deploy" / "k8s-sync.yml"
OPERATOR = "k8s-sync"


def install(world: World, cluster: Cluster, own_cluster: bool) -> str:
    """Installs the operator for the world's manifests; returns its image's reference."""
    image = push_image(world)
    if own_cluster:
        CLUSTER.call("trust", world.registry.host, str(world.registry.ca))
    follows = {
        "APPLICATION": APPLICATION,
        "K8S_SYNC_REPO": world.manifests_url,
        "K8S_SYNC_REVISION": TARGET,
        "K8S_SYNC_PATH": "manifests",
        "K8S_SYNC_DEST_NAMESPACE": NAMESPACE,
        # The story's reader should not have to wait for half a minute.
        "K8S_SYNC_POLL": "2",
    }
    reads = {
        "SSH_PRIVATE_KEY": world.forge.bot.key.read_text(),
        "SSH_KNOWN_HOSTS": world.forge.known_hosts.read_text(),
    }
    login = (world.registry.host, world.registry.user, world.registry.password)
    cluster.apply(
        *(named("v1", "Namespace", name) for name in (OPERATOR, NAMESPACE)),
        *(cluster.registry_secret(namespace, *login) for namespace in (OPERATOR, NAMESPACE)),
        {**named("v1", "ConfigMap", OPERATOR, OPERATOR), "data": follows},
        {**named("v1", "Secret", OPERATOR, OPERATOR), "stringData": reads},
    )
    manifest = world.tool("manifest-patch", "--container", OPERATOR, "--image", image, document=MANIFEST.read_text())
    cluster.kubectl("apply", "-f", "-", document=manifest)
    # The forge is on this machine's loopback, which only the node's own network reaches.
    # There two replicas would want the same port.
    pod = {"spec": {"replicas": 1, "strategy": {"type": "Recreate", "rollingUpdate": None}, "template": {"spec": {"hostNetwork": True}}}}
    cluster.kubectl("-n", OPERATOR, "patch", "deployment", OPERATOR, "--type=merge", "-p", json.dumps(pod))
    return image


def push_image(world: World) -> str:
    """Builds and pushes the image that k8s-sync runs from."""
    folder = world.folder / "operator"
    folder.mkdir(exist_ok=True)
    shutil.copy2(world.equipment.tools / OPERATOR, folder / OPERATOR)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY k8s-sync /usr/local/bin/\nENV PATH=/usr/local/bin\nUSER 65532\n")
    reference = f"{world.registry.host}/{OPERATOR}:{world.tool(OPERATOR, '--version').split()[-1]}"
    world.docker("build", "-q", "-t", reference, str(folder))
    return world.tool("imgpush", reference)


def logs(cluster: Cluster) -> str:
    """What the operator has said lately."""
    return cluster.kubectl("-n", OPERATOR, "logs", f"deployment/{OPERATOR}", "--tail=30", check=False)


def named(version: str, kind: str, name: str, namespace: str | None = None) -> dict:
    """The beginning of an object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
