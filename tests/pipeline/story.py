"""The whole story, stage by stage: from a commit to a pod that answers, and what happens after."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import operator_in_cluster
from cluster import APPLICATION, NAMESPACE, Cluster, Visitor
from forge import Forge
from services import CLUSTER, ENGINE, FORGE, REGISTRY, ServiceError, alone
from telling import NotShown, Telling, expect, wait_until
from workshop import Background, base_image, build_tools
from world import APPLICATION_FILES, MANIFESTS, TARGET, Equipment, Registry, World

# What the pipeline's commands show, in the story's words.
COMMANDS = {
    "imgtag": "the commit's tag",
    "docker build": "the image",
    "docker run": "a container of it",
    "docker exec": "pytest inside the container",
    "covgate": "the coverage gate",
    "imgpush": "the push",
    "mr-push": "the merge request",
}


# What --keep prints at the end.
KEPT = """
Everything is still up. To look at it:
  forge      {url}   (names and tokens: {scripts}/forge env)
  cluster    eval "$({scripts}/cluster env)"; "$KUBECTL" --kubeconfig "$KUBECONFIG" -n {namespace} get all
  operator   "$KUBECTL" --kubeconfig "$KUBECONFIG" -n k8s-sync logs deployment/k8s-sync
To take it down: {scripts}/cluster down; {scripts}/engine down; {scripts}/registry down; {scripts}/forge down"""


class Story:
    """One telling, on services that are up."""

    def __init__(self, world: World, parts: Parts, telling: Telling) -> None:
        self.world = world
        self.parts = parts
        self.telling = telling
        self.commits: list[str] = []
        self.cluster: Cluster  # from the stage on that needs it

    # From a commit to a merge request: what CI does.

    def repositories(self) -> None:
        with self.telling.stage("two repositories on the forge") as stage:
            self.world.two_repositories()
            stage.saw(f"application: {self.world.app_url}")
            stage.saw(f"manifests:   {self.world.manifests_url}")

    def ci(self) -> None:
        with self.telling.stage("what CI needs: the tools, an engine, a registry") as stage:
            equipment = self.parts.equipment.result()
            self.world.equip(equipment)
            stage.saw(f"registry {equipment.registry.host}, tools in {equipment.tools}")

    def first_commit(self) -> None:
        with self.telling.stage("a commit") as stage:
            self.world.app.fill(APPLICATION_FILES)
            stage.saw(f"commit {self._commit('Greet whoever asks')}")

    def pipeline(self, title: str) -> str:
        """Runs the pipeline on the newest commit; returns the merge request's URL."""
        with self.telling.stage(title) as stage:
            outcome = self.world.run_pipeline(show=True)
            for start, command, seconds in outcome.timed(COMMANDS):
                stage.saw(f"{COMMANDS[start]}: {seconds:.2f} s   ({command[:90]})")
            expect(outcome.status == 0, f"the pipeline ended with {outcome.status}")
            tag = self.world.tag()
            expect(tag in self.world.registry.tags(APPLICATION), f"the registry has no {APPLICATION}:{tag}")
            url = outcome.answer
            requests = self.world.forge.merge_requests(MANIFESTS)
            expect(
                any(request["html_url"] == url and request["base"]["ref"] == TARGET for request in requests),
                f"the forge has no open merge request {url!r} to {TARGET}",
            )
            stage.saw(f"merge request: {url}")
            return url

    def pipeline_again(self, url: str) -> None:
        with self.telling.stage("the same job again: nothing changes, the same answer") as stage:
            before = self.world.registry.tags(APPLICATION)
            outcome = self.world.run_pipeline()
            expect(outcome.status == 0, f"the second run ended with {outcome.status}: {outcome.stderr[-400:]}")
            expect(outcome.answer == url, f"the second run answered {outcome.answer!r}")
            expect(self.world.registry.tags(APPLICATION) == before, "the second run changed the registry")
            stage.saw(url)

    def merge(self, title: str, url: str) -> None:
        with self.telling.stage(title) as stage:
            self.world.forge.merge(MANIFESTS, url)
            stage.saw(f"merged by {self.world.forge.person.name}")

    # In the cluster: what k8s-sync does.

    def operator(self) -> None:
        with self.telling.stage("a cluster") as stage:
            self.cluster = self.parts.cluster.result()
            self.cluster.forget(operator_in_cluster.OPERATOR, NAMESPACE)
            self.cluster.open_door()
            stage.saw(self.cluster.nodes())
        with self.telling.stage("k8s-sync runs in the cluster and follows the branch") as stage:
            stage.saw(f"image {operator_in_cluster.install(self.world, self.cluster, self.parts.own_cluster)}")
            self._await_version(self.commits[-1], 120)
            stage.saw(f"GET /version → {self.commits[-1]}")
            _, body = self.cluster.ask("/")
            stage.saw(f"GET /        → {body}")

    def rollout(self) -> None:
        commit = self._commit_greeting("Good day")
        url = self.pipeline("a second commit goes the same way")
        with self.telling.stage("it rolls out with no gap in answers") as stage, Visitor(self.cluster) as visitor:
            self.world.forge.merge(MANIFESTS, url)
            self._await_version(commit, 120)
            self._await_rolled_out(120)
            expect(not visitor.failures, f"{len(visitor.failures)} requests failed: {visitor.failures[:3]}")
            stage.saw(f"{visitor.answers} answers, none missing")

    def gate(self) -> None:
        with self.telling.stage("a commit with too little coverage stops at the gate") as stage:
            app = self.world.app
            untested = "\n".join(f"    if number == {n}:\n        return {n}" for n in range(6))
            (app.folder / "app" / "untested.py").write_text(f"def choose(number):\n{untested}\n")
            (app.folder / "tests" / "test_import.py").write_text("import app.untested  # noqa: F401\n")
            app.commit("Choose a number, untested")
            tag = self.world.tag()
            outcome = self.world.run_pipeline()
            verdict = [line for line in outcome.stderr.splitlines() if line.startswith("covgate:")]
            stage.saw(" / ".join(verdict) or outcome.stderr[-300:])
            expect(outcome.status == 1, f"the pipeline ended with {outcome.status}, not with covgate's 1")
            expect(outcome.ran("covgate") and not outcome.ran("imgpush"), "the pipeline went past the gate")
            expect(not self.world.traces_of(tag), f"left behind: {self.world.traces_of(tag)}")
            stage.saw("nothing was pushed, no merge request was opened")
            app.git("reset", "-q", "--hard", "HEAD~1")
            app.git("push", "-q", "--force", "origin", "main")

    def self_heal(self) -> None:
        with self.telling.stage("what somebody changes by hand is healed") as stage:
            image = self._container()["image"]
            self.cluster.kubectl("-n", NAMESPACE, "scale", "deployment", APPLICATION, "--replicas=5")
            wait_until(30, "two replicas again", lambda: self._deployment()["spec"]["replicas"] == 2)
            stage.saw("kubectl scale --replicas=5 → 2 again")
            self.cluster.kubectl("-n", NAMESPACE, "set", "image", f"deployment/{APPLICATION}", f"{APPLICATION}=wrong:1")
            wait_until(30, "the image of the manifest again", lambda: self._container()["image"] == image)
            stage.saw(f"kubectl set image …=wrong:1 → {image} again")
            self.cluster.kubectl("-n", NAMESPACE, "delete", "service", APPLICATION)
            wait_until(30, "the service again", lambda: self.cluster.get("service", APPLICATION))
            stage.saw("kubectl delete service → there again")
            self._await_rolled_out(60)

    def prune(self) -> None:
        with self.telling.stage("what leaves the repository leaves the cluster") as stage:
            extra = self.world.manifests.folder / "manifests" / "extra.yml"
            self._take_target()
            extra.write_text(
                f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: extra\n  namespace: {NAMESPACE}\ndata:\n  of: use\n"
            )
            self.world.manifests.commit("Add a ConfigMap")
            wait_until(60, "the ConfigMap extra", lambda: self.cluster.get("configmap", "extra"))
            stage.saw("configmap extra came with its file")
            stranger = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "stranger", "namespace": NAMESPACE},
            }
            self.cluster.apply(stranger)
            extra.unlink()
            self.world.manifests.commit("Remove the ConfigMap")
            wait_until(60, "the ConfigMap extra is gone", lambda: not self.cluster.get("configmap", "extra"))
            stage.saw("configmap extra went with its file")
            expect(self.cluster.get("configmap", "stranger") is not None, "an object of somebody else was pruned")
            stage.saw("configmap stranger, which Git never knew, is still there")

    def roll_back(self) -> None:
        with self.telling.stage("a revert of the merge rolls back") as stage:
            self._take_target()
            manifests = self.world.manifests
            merge = manifests.git("log", "--first-parent", "--merges", "-1", "--format=%H")
            expect(bool(merge), "the target branch has no merge to revert")
            manifests.git("revert", "--no-edit", "-m", "1", merge)
            manifests.git("push", "-q", "origin", TARGET)
            self._await_version(self.commits[0], 120)
            stage.saw(f"GET /version → {self.commits[0]}, the first commit")

    # What several stages look at.

    def _commit(self, message: str) -> str:
        self.commits.append(self.world.app.commit(message))
        return self.commits[-1]

    def _commit_greeting(self, words: str) -> str:
        main = self.world.app.folder / "app" / "main.py"
        main.write_text(main.read_text().replace('"Hello")', f'"{words}")'))
        tests = self.world.app.folder / "tests" / "test_app.py"
        tests.write_text(tests.read_text().replace('"Hello, world!"}', f'"{words}, world!"}}'))
        return self._commit(f"Say {words!r} by default")

    def _take_target(self) -> None:
        self.world.manifests.git("fetch", "-q", "origin", TARGET)
        self.world.manifests.git("checkout", "-q", TARGET)
        self.world.manifests.git("reset", "-q", "--hard", f"origin/{TARGET}")

    def _deployment(self) -> dict:
        found = self.cluster.get("deployment", APPLICATION)
        if found is None:
            raise NotShown(f"the deployment {APPLICATION} is gone")
        return found

    def _container(self) -> dict:
        return self._deployment()["spec"]["template"]["spec"]["containers"][0]

    def _await_version(self, commit: str, seconds: float) -> None:
        wait_until(seconds, f"/version says {commit}", lambda: self.cluster.version() == commit)

    def _await_rolled_out(self, seconds: float) -> None:
        self.cluster.kubectl(
            "-n", NAMESPACE, "rollout", "status", f"deployment/{APPLICATION}", f"--timeout={seconds:.0f}s"
        )

    def tell(self) -> None:
        """All stages, in order."""
        self.repositories()
        self.first_commit()
        self.ci()
        url = self.pipeline("the pipeline: image, tests, gate, push, merge request")
        self.pipeline_again(url)
        self.merge("a person merges it", url)
        self.operator()
        self.rollout()
        self.gate()
        self.self_heal()
        self.prune()
        self.roll_back()


class Parts:
    """What the stages need later, made in the background: first what CI needs, then the cluster."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.equipment = Background(
            "building the tools and the base image", lambda: equip(options.registry, options.tools)
        )
        self.cluster = Background("building and starting the cluster", lambda: self._cluster(options.cluster))

        self.own_cluster = options.cluster == "own"

    def _cluster(self, choice: str) -> Cluster:
        self.equipment.wait()
        return start_cluster(choice)


def start_cluster(choice: str) -> Cluster:
    """The cluster of the story: one of our own, or the one of the current kubeconfig."""
    if choice == "current":
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise ServiceError("--cluster current needs kubectl on PATH")
        return Cluster(kubectl, os.environ.get("KUBECONFIG"))
    variables = CLUSTER.up()
    return Cluster(variables["KUBECTL"], variables["KUBECONFIG"])


def equip(registry: str | None = None, tools: Path | None = None) -> Equipment:
    """Brings up what a CI job needs and, unless there are some, builds the tools."""
    tools = tools or build_tools()
    engine = ENGINE.up()
    return Equipment(tools.resolve(), base_image(), engine, registry_of(registry))


def registry_of(host: str | None) -> Registry:
    """The registry of the story: one of our own, or one that is there already."""
    if host is None:
        return Registry(REGISTRY.up())
    names = ("REGISTRY_CA", "REGISTRY_USER", "REGISTRY_PASSWORD")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ServiceError(f"--registry {host} needs {', '.join(missing)} in the environment")
    return Registry({"REGISTRY": host, **{name: os.environ[name] for name in names}})


def arguments() -> argparse.Namespace:
    """The command line of `scripts/demo`."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Runs the whole story on real parts: from a commit to a pod that answers, then a rollout, a"
        " closed gate, self-healing, pruning and a rollback. Installs what is missing and says so first.",
    )
    parser.add_argument("--keep", action="store_true", help="leave everything up, and say how to look at it")
    parser.add_argument(
        "--cluster",
        choices=("own", "current"),
        default="own",
        help="build a one-node cluster (own), or use the one of the current kubeconfig; its nodes must reach this"
        " machine's loopback, as a single-node cluster on this machine does",
    )
    parser.add_argument(
        "--registry",
        metavar="HOST",
        help="a registry that the cluster can pull from, with REGISTRY_USER, REGISTRY_PASSWORD and REGISTRY_CA in the"
        " environment (default: one of our own)",
    )
    parser.add_argument(
        "--tools", metavar="DIR", type=Path, help="the six tools, k8s-sync a static one (default: built from here)"
    )
    return parser.parse_args()


def main() -> int:
    """Waits for its turn and tells the story."""
    options = arguments()
    with alone():
        return tell(options)


def tell(options: argparse.Namespace) -> int:
    """0 if every stage showed what it should."""
    telling = Telling()
    complete = False
    story: Story | None = None
    try:
        forge = Forge(FORGE.up())
        story = Story(World(forge), Parts(options), telling)
        story.tell()
        complete = True
    except (NotShown, ServiceError) as error:
        print(f"\nscripts/demo: error: {error}", file=sys.stderr)
        if story is not None and hasattr(story, "cluster"):
            print(f"what k8s-sync said last:\n{operator_in_cluster.logs(story.cluster)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nscripts/demo: interrupted", file=sys.stderr)
    finally:
        print(f"\n{telling.table()}")
        if story is not None:
            leave(story, options)
    return 0 if complete else 1


def leave(story: Story, options: argparse.Namespace) -> None:
    """Takes everything down, or says how to look at it."""
    if options.keep:
        print(KEPT.format(scripts="scripts/services", namespace=NAMESPACE, url=story.world.forge.url))
        return
    story.world.close()
    if hasattr(story, "cluster"):
        story.cluster.close_door()
    own = (
        [ENGINE, FORGE] + ([CLUSTER] if options.cluster == "own" else []) + ([REGISTRY] if not options.registry else [])
    )
    for service in own:
        service.down()


if __name__ == "__main__":
    sys.exit(main())
