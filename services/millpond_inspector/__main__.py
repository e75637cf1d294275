"""``python -m millpond_inspector``: looks at every output."""

from __future__ import annotations

import sys

from millpond.stream import run_service
from millpond_inspector.app import build
from millpond_inspector.confinement import hide_memory

if __name__ == "__main__":
    hide_memory()
    sys.exit(run_service(build))
