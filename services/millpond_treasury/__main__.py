"""``python -m millpond_treasury``: pays what is ordered, once."""

from __future__ import annotations

import sys

from millpond.stream import run_service
from millpond_treasury.app import build

if __name__ == "__main__":
    sys.exit(run_service(build))
