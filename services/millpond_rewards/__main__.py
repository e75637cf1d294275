"""``python -m millpond_rewards``: says what is owed to whom."""

from __future__ import annotations

import sys

from millpond.stream import run_service
from millpond_rewards.app import build

if __name__ == "__main__":
    sys.exit(run_service(build))
