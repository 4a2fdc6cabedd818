"""The commands in a document's examples, as a reader would type them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
TOOLS = ("imgtag", "covgate", "imgpush", "manifest-patch", "mr-push", "k8s-sync")
PROGRAMS = (*TOOLS, "cargo", "docker", "echo", "git", "kubectl", "scripts/demo", "scripts/test", "tar")
# What a command and what is said of it stand apart by.
GAP = re.compile(r"\s{2,}(?:#\s*)?(?=\S)")
# A word that a command prints, as examples say it.
PRINTED = re.compile(r"(?:prints )?(?P<word>[a-z.]+\.test/\S+)$")


@dataclass(frozen=True)
class Example:
    """One command line, or a whole script."""

    command: str
    said: str = ""

    @property
    def printed(self) -> str | None:
        """What the document says that the command prints; … stands for what it does not say."""
        found = PRINTED.match(self.said)
        return found["word"] if found else None


def logical_lines(text: str) -> list[str]:
    """The lines, each with those that it goes on in."""
    return re.sub(r"\s*(?:\\|(?<=\|))\n\s*", " ", text).splitlines()


def commands(text: str) -> list[Example]:
    """The commands in a block of examples; the other lines are words about them."""
    if text.startswith("set -e"):
        return [Example(text)]
    found = []
    for line in logical_lines(text):
        command, *said = GAP.split(line.strip(), maxsplit=1)
        program = command.partition(" ")[0]
        if program in PROGRAMS:
            found.append(Example(command, said[0].strip() if said else ""))
        else:
            assert not re.fullmatch(r"[a-z][\w./-]*", program), f"nothing runs this example: {command}"
    return found


def of_document(document: Path) -> list[Example]:
    """The examples in a document's shell blocks."""
    return [
        one
        for block in BLOCK.finditer(document.read_text())
        if block["language"] == "sh"
        for one in commands(block["text"])
    ]


def of_page(page: Path) -> list[Example]:
    """The examples on a tool's page; on such a page they are indented and the words about them are not."""
    text = page.read_text().partition("\n## Examples\n")[2]
    block = BLOCK.search(text)
    assert block, f"{page} has no examples"
    indented = re.sub(r"^\S.*\n", "", block["text"], flags=re.MULTILINE)
    return commands(indented)
