"""The tools' errors on the page about trouble are what the tools say, with the statuses that the page says.

Run by `scripts/test`: `python3 -m unittest discover -s tests/docs`.
"""

from __future__ import annotations

import re
import sys
import unittest
from dataclasses import dataclass

from examples import TOOLS
from scene import GIT, REGISTRY, ROOT, Scene

PAGE = ROOT / "ci" / "README.md"
ROW = re.compile(r"^\| (?P<ticks>`+)(?P<error>.+?)(?P=ticks)[^`|]*\| (?P<status>\d+|–) \|", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """An error and its job's status; … in its text stands for anything."""

    text: str
    status: int

    def tells(self, stderr: str) -> bool:
        """Whether this is what was said."""
        return re.search("^" + re.escape(self.text).replace("…", ".*"), stderr, re.MULTILINE) is not None


def rows() -> list[Row]:
    """The rows about what our tools say."""
    trouble = PAGE.read_text().partition("\n## Trouble\n")[2].partition("\n## ")[0]
    return [Row(row["error"], int(row["status"])) for row in ROW.finditer(trouble) if row["error"].startswith(TOOLS)]


class Trouble(unittest.TestCase):
    """Each error, made as its reader has made it."""

    def test_each_error_is_the_tool_s_own(self) -> None:
        scene = Scene()
        self.addCleanup(scene.close)
        clone = scene.forge()
        scene.project()
        keys, host = scene.folder.parent / "keys", GIT.variables()["GIT_SSH_KNOWN_HOSTS"]
        registry = REGISTRY.up()
        scene.variables["REGISTRY"] = registry["REGISTRY"]
        scene.must(
            f"{sys.executable} -B {ROOT}/scripts/packaging/image.py --name a:1 --platform linux/amd64=services a.tar"
        )
        scene.must(f"mkdir {keys} && ssh-keygen -q -t ed25519 -N '' -f {keys}/key && touch {keys}/none")
        scene.must(
            f"awk '{{getline key < \"{keys}/key.pub\"; split(key, k); print $1, k[1], k[2]; exit}}' {host} > {keys}/other"
        )
        # A request of this commit that somebody has changed.
        scene.must(
            "git checkout -q -b changed && echo 3 > version && git commit -q -a -m Change && git push -q origin changed",
            clone,
        )
        login = "IMGPUSH_USERNAME=robot IMGPUSH_PASSWORD=wrong"
        trusted = f"IMGPUSH_CA_FILE={registry['REGISTRY_CA']}"
        push = 'imgpush --from oci-archive:a.tar "$REGISTRY/docs/a:1"'
        request = 'mr-push --branch bump --target demo "$MANIFESTS" -- '
        made = [
            "rm -rf htmlcov && covgate --fail-under 80 htmlcov",
            "printf 'SF:a.c\\nDA:1,1\\nDA:2,0\\nend_of_record\\n' | covgate --fail-under 80",
            f"{trusted} {login} {push}",
            f"{trusted} {push}",
            push,
            "imgpush --from oci-archive:a.tar :1",
            f"unset SSH_PRIVATE_KEY SSH_AUTH_SOCK; {request} true",
            f"SSH_PRIVATE_KEY={keys}/key {request} true",
            f"SSH_KNOWN_HOSTS={keys}/none {request} true",
            f"SSH_KNOWN_HOSTS={keys}/other {request} true",
            f"MANIFESTS=; {request} true",
            f'MANIFESTS="${{MANIFESTS%.git}}-elsewhere.git"; {request} true',
            f"{request.replace('demo', 'nowhere')} true",
            f"{request} manifest-patch --image app:2 --container hello -i manifests/deployment.yml",
            f"{request} manifest-patch --image app:2 -i manifests/app.yml",
            f"{request.replace('bump', 'changed')} ./bump.sh",
        ]
        left = rows()
        self.assertGreater(len(left), 10)
        for script in made:
            with self.subTest(script=script):
                done = scene.run(script)
                told = [row for row in left if row.tells(done.stderr)]
                self.assertEqual([row.status for row in told], [done.returncode], done.stderr)
                left = [row for row in left if row not in told]
        self.assertEqual(left, [], "rows that nothing here makes")


if __name__ == "__main__":
    unittest.main()
