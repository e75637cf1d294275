"""``python -m millpond_registry``: decides who is in, and which GPUs answer."""

from __future__ import annotations

import sys

from millpond.stream import run_service
from millpond_registry.app import build

if __name__ == "__main__":
    sys.exit(run_service(build))
