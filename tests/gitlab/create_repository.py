"""Makes a project: `create_repository.py ROOT NAME WEB_URL [DEFAULT_BRANCH]` (see `project.py`)."""

import sys
from pathlib import Path

import project

root, name, url, *rest = sys.argv[1:]
print(project.create(Path(root), name, url, *rest).repository)
