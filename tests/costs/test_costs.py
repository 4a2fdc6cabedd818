"""What the tools cost, in figures that a busy machine does not change: instructions, allocations, peak memory, requests,
bytes.

Each limit is half above what was counted when it was set (and twice where vector instructions do the work, which
processors differ in); a change that goes over one should be one that meant to.
Run by `scripts/test` on the static release binaries, and allocations on the debug build: `python3 -m unittest discover -s tests/costs`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "benchmarks"), str(ROOT / "tests" / "pipeline")]
from measure import Command, allocations, instructions, peak_memory, run  # noqa: E402 # the path is known only now
from services import Service  # noqa: E402
from workshop import build_tools  # noqa: E402

MILLION = 1_000_000
KIB = 1024
AUTHOR = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid", "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.invalid",
}  # fmt: skip


class Costs(unittest.TestCase):
    """One tool a test, on inputs made here."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.tools = build_tools()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = Path(temporary.name)
        cls.environment = {"PATH": os.environ["PATH"], "HOME": str(cls.folder), "GIT_CONFIG_NOSYSTEM": "1", **AUTHOR}

    def command(self, tool: str, *words: str | Path, **more) -> Command:
        return Command([self.tools / tool, *words], self.folder, {**self.environment, **more.pop("env", {})}, **more)

    def at_most(self, what: str, counted: float, limit: float) -> None:
        print(f"    {what}: {counted:,.0f} of at most {limit:,.0f}", file=sys.stderr)
        self.assertLessEqual(counted, limit, what)

    def test_imgtag_in_a_packed_repository(self) -> None:
        repository = self.folder / "repository"
        subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True, env=self.environment)
        stream = []
        for number in range(10_000):
            stream.append(f"commit refs/heads/main\ncommitter A <a@example.invalid> {1_700_000_000 + number} +0000\ndata 1\nx\n")
            stream.append(f"M 100644 inline file\ndata {len(str(number))}\n{number}\n")
        subprocess.run(["git", "-C", repository, "fast-import", "--quiet"], input="".join(stream).encode(), check=True)
        subprocess.run(["git", "-C", repository, "repack", "-adq"], check=True, env=self.environment)
        tag = Command([self.tools / "imgtag"], repository, self.environment)
        self.at_most("imgtag, instructions", instructions(tag), 180_000)
        # Half of it are pages of the program's file, of which a kernel maps more at once after it was written anew.
        self.at_most("imgtag, bytes of memory", peak_memory(tag), 5_000 * KIB)
        self.at_most("imgtag, instructions with options", instructions(self.command("imgtag", "-C", repository)), 400_000)

    def test_covgate_of_a_large_report(self) -> None:
        line = '<line number="{}" hits="{}" branch="false"/>\n'
        for name, classes in (("small", 100), ("large", 1_000)):
            with (self.folder / f"{name}.xml").open("w") as report:
                report.write('<?xml version="1.0"?>\n<coverage line-rate="0.9" lines-covered="{0}" lines-valid="{1}" version="1">\n<packages>'
                             '<package name="p"><classes>\n'.format(270 * classes, 300 * classes))  # fmt: skip
                for number in range(classes):
                    report.write(f'<class name="c{number}" filename="src/c{number}.py" line-rate="0.9"><methods/><lines>\n')
                    report.writelines(line.format(n, int(n % 10 != 0)) for n in range(1, 301))
                    report.write("</lines></class>\n")
                report.write("</classes></package></packages></coverage>\n")
        small, large = (self.command("covgate", f"{name}.xml") for name in ("small", "large"))
        kilobytes = ((self.folder / "large.xml").stat().st_size - (self.folder / "small.xml").stat().st_size) / 1000
        more = instructions(large) - instructions(small)
        self.at_most("covgate, instructions for a kB of Cobertura", more / kilobytes, 15_000)
        self.at_most("covgate, bytes of memory for 14 MB of Cobertura", peak_memory(large), 5_000 * KIB)

    def test_manifest_patch_of_one_file_and_of_many_documents(self) -> None:
        document = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p{0}\nspec:\n  containers:\n    - name: app\n      image: registry.test/{1}:1\n"
        (self.folder / "one.yml").write_text(document.format(0, "app"))
        (self.folder / "many.yml").write_text("---\n".join(document.format(n, "app" if n == 0 else "other") for n in range(2_000)))
        one = self.command("manifest-patch", "--image", "registry.test/app:2", "one.yml")
        many = self.command("manifest-patch", "--image", "registry.test/app:2", "many.yml")
        self.at_most("manifest-patch, instructions for one file", instructions(one), 1.05 * MILLION)
        self.at_most("manifest-patch, instructions for a document", instructions(many) / 2_000, 106_000)

    def test_mr_push_over_one_connection(self) -> None:
        service = Service("git-ssh")
        server = service.up()
        name = f"costs/{os.getpid()}"
        service.call("create-repository", name, "demo")
        repository = Path(server["GIT_SSH_ROOT"]) / f"{name}.git"
        stream = ["commit refs/heads/demo\ncommitter A <a@example.invalid> 1700000000 +0000\ndata 1\nx\n"]
        stream += [f"M 100644 inline d{n % 50}/f{n}\ndata {len(str(n))}\n{n}\n" for n in range(2_000)]
        subprocess.run(["git", "-C", repository, "fast-import", "--quiet"], input="".join(stream).encode(), check=True)
        subprocess.run(["git", "-C", repository, "repack", "-adq"], check=True, env=self.environment)
        base, _, port = server["GIT_SSH_URL"].rpartition(":")
        relay = subprocess.Popen(
            [sys.executable, ROOT / "tests/relay/relay.py", "--to", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True
        )
        through = json.loads(relay.stdout.readline())["port"]
        hosts = self.folder / "hosts"
        hosts.write_text(Path(server["GIT_SSH_KNOWN_HOSTS"]).read_text().replace(f"]:{port} ", f"]:{through} "))
        words = ["--forge", "gitlab", "--target", "demo", "--branch", "change", "--path", "d7", f"{base}:{through}/{name}.git"]
        keys = {"SSH_PRIVATE_KEY": server["GIT_SSH_KEY"], "SSH_KNOWN_HOSTS": str(hosts)}
        run(self.command("mr-push", "-q", *words, "--", "sh", "-c", "echo new >d7/f7", env=keys))
        relay.send_signal(signal.SIGTERM)
        counts = json.loads(relay.communicate()[0])
        self.at_most("mr-push, connections", counts["connections"], 1)
        self.at_most("mr-push, turns of the data's direction", counts["directionChanges"], 32)
        self.at_most("mr-push, bytes from the server", counts["bytesDown"], 87_000)
        self.at_most("mr-push, bytes to the server", counts["bytesUp"], 10_000)

    def test_imgpush_of_an_archive(self) -> None:
        registry = Service("registry", options=("--plain",)).up()["REGISTRY"]
        proxy = subprocess.Popen(
            [sys.executable, ROOT / "tests/fault-proxy/fault_proxy.py", "--upstream", f"http://{registry}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.addCleanup(proxy.communicate)
        self.addCleanup(proxy.kill)
        host = f"127.0.0.1:{json.loads(proxy.stdout.readline())['port']}"
        # Half of it can be compressed.
        size = 64 * MILLION
        (self.folder / "program").write_bytes(os.urandom(size // 2) + bytes(size // 2))
        with (self.folder / "image.tar").open("wb") as archive:
            maker = ROOT / "tests/cluster/image_archive.py"
            subprocess.run([sys.executable, maker, "app:1", self.folder / "program"], check=True, stdout=archive)
        push = self.command("imgpush", "-q", "--from", "docker-archive:image.tar", f"{host}/costs/{os.getpid()}:1")

        def requests() -> list[dict]:
            """What came through since the last time."""
            with urllib.request.urlopen(f"http://{host}/_faults") as answer:
                found = json.load(answer)["requests"]
            urllib.request.urlopen(urllib.request.Request(f"http://{host}/_faults", b"[]", method="PUT")).close()
            return found

        memory = peak_memory(push)
        first = requests()
        self.at_most("imgpush, bytes of memory for a layer of 64 MB", memory, (64 + 2 * os.cpu_count()) * KIB * KIB)
        self.at_most("imgpush, requests of a first push", len(first), 14)
        self.at_most("imgpush, bytes of a first push", sum(request["bytes"] for request in first), size * 0.51)
        run(push)
        again = requests()
        self.at_most("imgpush, requests where nothing changed", len(again), 1)
        self.at_most("imgpush, bytes where nothing changed", sum(request["bytes"] for request in again), 0)

    def test_k8s_sync_of_a_hundred_objects(self) -> None:
        cluster = Service("cluster").up()
        name = f"costs-{os.getpid()}"
        kubectl = [cluster["KUBECTL"], "--kubeconfig", cluster["KUBECONFIG"]]
        self.addCleanup(subprocess.run, [*kubectl, "delete", "namespace", name, "--wait=false"], stdout=subprocess.DEVNULL)
        documents = ["apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {0}\n"]
        documents += [f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{n}\ndata:\n  n: '{n}'\n" for n in range(100)]
        (self.folder / "all.yml").write_text("---\n".join(documents).format(name))
        words = ["apply", name, "--dest-namespace", name, "-f", "all.yml", "-o", "json"]
        apply = self.command("k8s-sync", *words, env={"KUBECONFIG": cluster["KUBECONFIG"]})

        def requests() -> int:
            return json.loads(run(apply).stdout.splitlines()[-1])["requests"]

        self.at_most("k8s-sync, requests that make 101 objects", requests(), 183)
        self.at_most("k8s-sync, requests where nothing changed", requests(), 7)
        self.at_most("k8s-sync, bytes of memory", peak_memory(apply), 20 * MILLION)

    def test_allocations(self) -> None:
        repository = self.folder / "small"
        subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True, env=self.environment)
        subprocess.run(["git", "-C", repository, "commit", "-q", "--allow-empty", "-m", "x"], check=True, env=self.environment)
        records = "".join(f"SF:{n}.c\n{''.join(f'DA:{line},1{chr(10)}' for line in range(1, 101))}end_of_record\n" for n in range(100))
        (self.folder / "lcov.info").write_text(records)
        document = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n    - name: app\n      image: registry.test/app:1\n"
        (self.folder / "pod.yml").write_text(document)
        subprocess.run(["cargo", "build", "--quiet", "--locked", "--workspace"], check=True, cwd=ROOT)
        built = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "debug"
        for limit, *words in (
            (500, "imgtag", "-C", repository),
            (850, "covgate", "lcov.info"),
            (1_100, "manifest-patch", "--image", "registry.test/app:2", "pod.yml"),
        ):
            command = Command([built / words[0], *words[1:]], self.folder, self.environment)
            self.at_most(f"{words[0]}, allocations", allocations(command), limit)


if __name__ == "__main__":
    unittest.main()
