"""What the tools cost, in figures that a busy machine does not change: instructions, peak memory, requests, bytes.

Each limit is half above what was counted when it was set (and twice where vector instructions do the work, which
processors differ in); a change that goes over one should be one that meant to.
Run by `scripts/test` on the static release binaries: `python3 -m unittest discover -s tests/costs`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "benchmarks"), str(ROOT / "tests" / "pipeline")]
from measure import Command, instructions, peak_memory, run  # noqa: E402 # the path is known only now
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
        tag = self.command("imgtag", "-C", repository)
        self.at_most("imgtag, instructions", instructions(tag), 1.8 * MILLION)
        self.at_most("imgtag, bytes of memory", peak_memory(tag), 6_500 * KIB)

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


if __name__ == "__main__":
    unittest.main()
