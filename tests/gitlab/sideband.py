"""What a push prints: GitLab's messages in the bytes that Gitaly gives them (`internal/gitaly/hook/postreceive.go`)."""

from __future__ import annotations

WIDTH = 80 - len("remote: ")
TEXT_WIDTH = WIDTH - 2 * 2
RULE = b"=" * WIDTH


def basic(text: str) -> bytes:
    """A message as it is."""
    return b"\n" + text.encode() + b"\n\n"


def alert(text: str) -> bytes:
    """A message between two rules, its words wrapped anew and centred. Widths are counted in bytes."""
    lines = [b""]
    for word in text.encode().split():
        # Also for a first word too long for any line: an empty line comes before it.
        if len(lines[-1]) + 1 + len(word) > TEXT_WIDTH:
            lines.append(b"")
        lines[-1] += word + b" "
    return b"\n" + RULE + b"\n\n" + b"\n".join(centred(line) for line in lines) + b"\n\n" + RULE + b"\n\n"


def centred(line: bytes) -> bytes:
    """The line with half of what is free before it, and nothing after it."""
    line = line.strip()
    return b" " * max((WIDTH - len(line)) // 2, 0) + line
