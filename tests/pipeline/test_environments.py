"""Two environments of one repository, as their documents tell it: k8s-sync in a pod of its own account follows both,
renders their overlays and decrypts what only each of them may read.

Run by `scripts/test`, after the story.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import unittest
from pathlib import Path

import operator_in_cluster
from cluster import APPLICATION, NAMESPACE, Cluster
from forge import Clone
from operator_in_cluster import OPERATOR, POLL, named
from own_world import OwnWorld
from services import CLUSTER, ROOT, Service
from telling import wait_until

ENVIRONMENTS = {"staging": "Hello from staging", "production": "Good day"}
FILES = ROOT / "tests" / "hello-python-environments"
DEPLOY = ROOT / "tools" / "k8s-sync"
ACCOUNT = f"system:serviceaccount:{OPERATOR}:{OPERATOR}"


def namespace(environment: str) -> str:
    return f"hello-{environment}"


class Environments(OwnWorld):
    """Staging and production, from an empty repository to answers."""

    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        variables = CLUSTER.up()
        cls.cluster = Cluster(variables["KUBECTL"], variables["KUBECONFIG"])
        spaces = [OPERATOR, NAMESPACE, *map(namespace, ENVIRONMENTS)]
        cls.cluster.forget(*spaces)
        cls.addClassCleanup(cls.cluster.forget, *spaces)
        cls.cluster.open_door()
        cls.addClassCleanup(cls.cluster.close_door)

    def encrypt(self, repository: Path, environment: str, secret: str) -> str:
        """Puts a Secret into the environment, encrypted for a key of its own; returns the key."""
        key = self.world.folder / f"{environment}.agekey"
        told = subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True, text=True).stderr
        public = told.split()[-1]
        file = repository / environment / "secret.yml"
        file.write_text(
            f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {APPLICATION}\nstringData:\n  PASSWORD: {secret}\n"
        )
        words = ["encrypt", "--age", public, "--encrypted-regex", "^(data|stringData)$", "-i", file]
        subprocess.run([Service("sops").up()["SOPS"], *words], check=True, capture_output=True)
        self.assertNotIn(secret, file.read_text())
        rules = repository / environment / "kustomization.yml"
        rules.write_text(rules.read_text().replace("  - ../base\n", "  - ../base\n  - secret.yml\n"))
        return key.read_text()

    def install(self, url: str, keys: dict[str, str]) -> None:
        """What deploy-environments asks for and is: the image with kustomize, the repository's access, the keys."""
        image = operator_in_cluster.push_image(self.world, Path(Service("renderers").up()["KUSTOMIZE"]))
        operator_in_cluster.trust_registry(self.world)
        access = {**operator_in_cluster.forge_access(self.world), "K8S_SYNC_POLL": POLL}
        spaces = [OPERATOR, *map(namespace, ENVIRONMENTS)]
        self.cluster.apply(
            *(named("v1", "Namespace", name) for name in spaces),
            *(operator_in_cluster.pull_secret(self.world, self.cluster, name) for name in spaces),
            {**named("v1", "Secret", OPERATOR, OPERATOR), "stringData": access},
            *(
                {**named("v1", "Secret", f"{environment}-keys", OPERATOR), "stringData": {"its.agekey": key}}
                for environment, key in keys.items()
            ),
        )
        folder = self.world.folder / "deploying"
        for name in ("deploy", "deploy-environments"):
            shutil.copytree(DEPLOY / name, folder / name)
        applications = folder / "deploy-environments" / "applications.yml"
        given = "https://git.test/team/hello-python-environments.git"
        self.assertIn(given, applications.read_text())
        applications.write_text(applications.read_text().replace(given, url))
        self.world.tool("manifest-patch", "--container", OPERATOR, "--image", image, "-i", str(folder / "deploy/k8s-sync.yml"))
        self.cluster.kubectl("apply", "-k", str(folder / "deploy-environments"))
        operator_in_cluster.move_to_host_network(self.cluster)

    def greets(self, environment: str) -> str | None:
        status, body = self.cluster.ask("/", namespace(environment))
        return json.loads(body)["message"] if status == 200 else None

    def deployment(self, environment: str) -> dict:
        return self.cluster.get("deployment", APPLICATION, namespace(environment)) or {"spec": {}, "status": {}}

    def image_of(self, environment: str) -> str:
        return self.deployment(environment)["spec"]["template"]["spec"]["containers"][0]["image"]

    def may(self, *words: str) -> bool:
        return self.cluster.kubectl("auth", "can-i", *words, f"--as={ACCOUNT}", check=False).strip() == "yes"

    def test_each_environment_is_what_its_overlay_says(self) -> None:
        outcome = self.world.run_pipeline()
        self.assertEqual(outcome.status, 0, outcome.stderr[-2000:])
        tag = self.world.tag()
        image = f"{self.world.image}:{tag}@{self.world.registry.tags(APPLICATION)[tag]}"
        url = self.world.forge.new_repository("hello-python-environments", "main")
        repository = Clone(self.world.folder / "environments", url, self.world.forge, self.world.forge.person)
        repository.fill(FILES)
        base = repository.folder / "base" / "deployment.yml"
        pull = "    spec:\n      securityContext:\n"
        self.assertIn(pull, base.read_text())
        base.write_text(base.read_text().replace(pull, "    spec:\n      imagePullSecrets: [{name: registry}]\n      securityContext:\n"))
        keys = {}
        for environment in ENVIRONMENTS:
            # As the documents promote an image.
            overlay = repository.folder / environment / "kustomization.yml"
            self.world.tool("manifest-patch", "--container", APPLICATION, "--image", image, "-i", str(overlay))
            keys[environment] = self.encrypt(repository.folder, environment, f"open-{environment}")
        repository.commit("Describe two environments")
        self.install(url, keys)
        try:
            for environment, words in ENVIRONMENTS.items():
                wait_until(120, f"{environment} greets", lambda: self.greets(environment) == f"{words}, world!")
        except Exception as error:
            raise AssertionError(f"{error}\n{operator_in_cluster.logs(self.cluster)}") from error

        with self.subTest("what is alike and what is not"):
            self.assertEqual({e: self.deployment(e)["spec"]["replicas"] for e in ENVIRONMENTS}, {"staging": 1, "production": 3})
            self.assertEqual({self.image_of(e) for e in ENVIRONMENTS}, {image})
        with self.subTest("the decrypted Secrets"):
            for environment in ENVIRONMENTS:
                secret = self.cluster.get("secret", APPLICATION, namespace(environment))
                self.assertEqual(base64.b64decode(secret["data"]["PASSWORD"]).decode(), f"open-{environment}")
                self.assertNotIn(f"open-{environment}", operator_in_cluster.logs(self.cluster))
        with self.subTest("what the account may do"):
            for environment in ENVIRONMENTS:
                self.assertTrue(self.may("create", "deployments.apps", "-n", namespace(environment)))
                self.assertTrue(self.may("get", f"secrets/{environment}-keys", "-n", OPERATOR))
            for refused in (
                ["get", f"secrets/{OPERATOR}", "-n", OPERATOR],
                ["list", "secrets", "-n", OPERATOR],
                ["create", "configmaps", "-n", "default"],
                ["create", "deployments.apps", "-n", NAMESPACE],
                ["delete", f"namespaces/{namespace('staging')}"],
            ):
                self.assertFalse(self.may(*refused), refused)
        with self.subTest("a change in one environment's overlay is one environment's"):
            before = self.deployment("production")["metadata"]["generation"]
            overlay = repository.folder / "staging" / "kustomization.yml"
            overlay.write_text(overlay.read_text().replace(ENVIRONMENTS["staging"], "Welcome"))
            repository.commit("Welcome who comes to staging")
            wait_until(60, "staging says Welcome", lambda: self.greets("staging") == "Welcome, world!")
            self.assertEqual(self.greets("production"), "Good day, world!")
            self.assertEqual(self.deployment("production")["metadata"]["generation"], before)
        with self.subTest("what somebody changes by hand is healed"):
            self.cluster.kubectl("-n", namespace("production"), "scale", f"deployment/{APPLICATION}", "--replicas=1")
            wait_until(30, "three replicas again", lambda: self.deployment("production")["spec"]["replicas"] == 3)


if __name__ == "__main__":
    unittest.main()
