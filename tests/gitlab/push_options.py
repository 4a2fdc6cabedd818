"""Push options as GitLab reads them (`lib/gitlab/push_options.rb`).

An option it does not know is dropped without a word: that is how a newer option, or a misspelt one, comes to nothing.
"""

from __future__ import annotations

import re

# Each namespace's keys, with the first version that knows them (doc/topics/git/commit.md); (0, 0): long known.
LONG_KNOWN = (0, 0)
KEYS = {
    "merge_request": {
        "assign": LONG_KNOWN,
        "auto_merge": (17, 11),
        "create": LONG_KNOWN,
        "description": LONG_KNOWN,
        "draft": LONG_KNOWN,
        "label": LONG_KNOWN,
        "merge_when_pipeline_succeeds": LONG_KNOWN,
        "milestone": LONG_KNOWN,
        "remove_source_branch": LONG_KNOWN,
        "squash": (17, 2),
        "target": LONG_KNOWN,
        "target_project": LONG_KNOWN,
        "title": LONG_KNOWN,
        "unassign": LONG_KNOWN,
        "unlabel": LONG_KNOWN,
    },
    "ci": {"skip": LONG_KNOWN, "variable": LONG_KNOWN, "input": (17, 11)},
    "integrations": {"skip_ci": (16, 2)},
    "secret_push_protection": {"skip_all": (17, 2)},
}

# Keys that may be given several times; of any other, the last one counts.
REPEATABLE = {
    ("ci", "variable"),
    ("ci", "input"),
    ("merge_request", "label"),
    ("merge_request", "unlabel"),
    ("merge_request", "assign"),
    ("merge_request", "unassign"),
}

ALIASES = {"mr": "merge_request"}

# `.` stops at a newline, so of a value of several lines only the first is read.
OPTION = re.compile(r"(?P<namespace>[^.]+)\.(?P<key>[^=]+)=?(?P<value>.*)")


def parse(options: list[str], version: tuple[int, int]) -> dict[str, dict]:
    """`{namespace: {key: value}}`: a list for a repeatable key, True for an empty value."""
    parsed: dict[str, dict] = {}
    for option in options:
        parts = OPTION.search(option)
        if not parts:
            continue
        namespace, key, value = (parts[name].strip() for name in ("namespace", "key", "value"))
        namespace = ALIASES.get(namespace, namespace)
        since = KEYS.get(namespace, {}).get(key)
        if since is None or since > version:
            continue
        keys = parsed.setdefault(namespace, {})
        if (namespace, key) not in REPEATABLE:
            keys[key] = value or True
        elif value not in keys.setdefault(key, []):
            keys[key].append(value)
    return parsed
