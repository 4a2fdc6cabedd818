"""What users get: archives, a Debian package and an image, made twice from the same tools."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

from project import TOOLS_IMAGE, distribution, docker, load_tools_image, make_distribution
from services import ENGINE, REGISTRY, ROOT, Service
from workshop import TOOLS, build_tools
from world import Registry

LARGEST_IMAGE = 40_000_000


class Distribution(unittest.TestCase):
    """scripts/dist, for this machine."""

    @classmethod
    def setUpClass(cls) -> None:
        holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(holder.cleanup)
        cls.work = Path(holder.name)
        ENGINE.up()
        cls.folder = distribution()

    def file(self, pattern: str) -> Path:
        """The one file of this name."""
        (found,) = self.folder.glob(pattern)
        return found

    def test_twice_the_same(self) -> None:
        again = self.work / "again"
        make_distribution(again)
        self.assertEqual((self.folder / "SHA256SUMS").read_text(), (again / "SHA256SUMS").read_text())
        self.assertEqual(len((again / "SHA256SUMS").read_text().splitlines()), 3)
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=again, check=True)

    def test_the_tools_know_nothing_of_where_they_were_built(self) -> None:
        """What would make another clone's build another: `scripts/dist --check`, which takes many minutes, compares two."""
        cargo = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
        folders = [cargo, str(build_tools().parents[1]), str(ROOT)]
        for tool in TOOLS:
            program = (build_tools() / tool).read_bytes()
            for folder in folders:
                with self.subTest(tool=tool, folder=folder):
                    self.assertNotIn(folder.encode(), program)
            with self.subTest(tool=tool):
                built = re.findall(rb"built on: [\w: ]+", program)
                self.assertLessEqual(set(built), {b"built on: Thu Jan  1 00:00:00 1970 UTC"})

    def test_the_archive_has_binaries_pages_and_completions(self) -> None:
        with tarfile.open(self.file("*.tar.gz")) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for tool in TOOLS:
            wanted = {
                f"bin/{tool}",
                f"share/man/man1/{tool}.1",
                f"share/bash-completion/completions/{tool}",
                f"share/zsh/site-functions/_{tool}",
                f"share/fish/vendor_completions.d/{tool}.fish",
            }
            self.assertLessEqual(wanted, names)

    def test_the_package_installs_and_goes_again(self) -> None:
        base = Service("base-image").up()["BASE_IMAGE"]
        script = """
            dpkg --install /dist/*.deb >&2
            dpkg --verify gitops-steps
            for tool in $TOOLS; do
                $tool --version
                test -s /usr/share/man/man1/$tool.1.gz
                bash -c "source /usr/share/bash-completion/completions/$tool && complete -p $tool" >&2
            done
            dpkg --remove gitops-steps >&2
            test ! -e /usr/bin/imgtag
        """
        said = docker(
            *("run", "--rm", "--volume", f"{self.folder}:/dist:ro", "--env", f"TOOLS={' '.join(TOOLS)}"),
            *(base, "sh", "-eux", "-c", script),
        )
        version = self.file("*.deb").name.split("_")[1]
        self.assertEqual(said.splitlines(), [f"{tool} {version}" for tool in TOOLS])

    def readme(self, start: str) -> str:
        """The command in the README that starts like this, for the version that was made."""
        found = re.search(rf"^{re.escape(start)}.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
        self.assertIsNotNone(found, start)
        version = self.file("*.tar.gz").name.split("-")[2]
        return found[0].replace("-0.1.0-", f"-{version}-").replace("x86_64", platform.machine())

    def run_in_clone(self, command: str, **variables: str) -> str:
        """Runs a command where dist/ is."""
        (self.work / "dist").unlink(missing_ok=True)
        (self.work / "dist").symlink_to(self.folder)
        environment = {"PATH": f"{build_tools()}:{os.environ['PATH']}", "HOME": str(self.work), **variables}
        done = subprocess.run(
            ["sh", "-euc", command],
            cwd=self.work,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def test_the_archive_unpacks_as_the_readme_says(self) -> None:
        prefix = self.work / "prefix"
        prefix.mkdir()
        self.run_in_clone(self.readme("tar -xzf dist/").replace("/usr/local", str(prefix)))
        self.assertEqual({path.name for path in (prefix / "bin").iterdir()}, set(TOOLS))

    def test_the_image_is_pushed_as_the_readme_says(self) -> None:
        registry = Registry(REGISTRY.up())
        login = {"IMGPUSH_USERNAME": registry.user, "IMGPUSH_PASSWORD": registry.password}
        command = self.readme("imgpush --from oci-archive:dist/")
        said = self.run_in_clone(command, IMAGE=f"{registry.host}/steps", IMGPUSH_CA_FILE=str(registry.ca), **login)
        self.assertEqual(said.strip().partition("@")[2], registry.tags("steps")["0.1.0"])

    def test_the_image_is_small(self) -> None:
        self.assertLess(self.file("*-image.tar").stat().st_size, LARGEST_IMAGE)


class Image(unittest.TestCase):
    """The image, in an engine."""

    @classmethod
    def setUpClass(cls) -> None:
        ENGINE.up()
        load_tools_image()

    def test_nobody_is_root_and_the_tools_run(self) -> None:
        script = "id -u; for tool in $TOOLS docker-credential-gcr kustomize; do command -v $tool; done; imgtag --version; mktemp"
        said = docker(
            "run", "--rm", "--env", f"TOOLS={' '.join(TOOLS)}", TOOLS_IMAGE, "sh", "-euc", script
        ).splitlines()
        self.assertEqual(said[0], "65532")
        found = [f"/usr/local/bin/{tool}" for tool in (*TOOLS, "docker-credential-gcr", "kustomize")]
        self.assertEqual(said[1 : 1 + len(found)], found)

    def test_a_repository_of_another_user_is_read(self) -> None:
        script = "imgtag -C /project --length 12"
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            git = ["git", "-C", folder, "-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid"]
            subprocess.run([*git, "init", "-q"], check=True)
            subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "Start"], check=True)
            commit = subprocess.run([*git, "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True, check=True).stdout
            said = docker("run", "--rm", "--volume", f"{folder}:/project:ro", TOOLS_IMAGE, "sh", "-euc", script)
        self.assertEqual(said.strip(), commit[:12])

    def test_environments_are_rendered_in_it(self) -> None:
        examples = ROOT / "tests" / "hello-python-environments"
        render = ("k8s-sync", "health", "-f", "/project/production")
        said = docker("run", "--rm", "--volume", f"{examples}:/project:ro", TOOLS_IMAGE, *render)
        found = {line.split("\t")[1] for line in said.splitlines()}
        self.assertLessEqual({"Namespace hello-production", "Deployment.apps hello-production/hello-python"}, found)

    def test_labels_say_what_it_is(self) -> None:
        described = json.loads(docker("image", "inspect", TOOLS_IMAGE))[0]
        labels = {
            name.removeprefix("org.opencontainers.image."): value
            for name, value in described["Config"]["Labels"].items()
        }
        self.assertLessEqual({"title", "description", "version", "revision", "licenses", "created"}, set(labels))
        self.assertEqual(labels["title"], "gitops-steps")
        self.assertRegex(labels["revision"], r"^[0-9a-f]{40}$")
        self.assertEqual(described["Architecture"], {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])


if __name__ == "__main__":
    unittest.main()
