"""``python -m millpond_edge.requests``: carries what gateways ask over Kafka."""

from __future__ import annotations

import sys

from millpond.stream import run_service
from millpond_edge.requests.app import build

if __name__ == "__main__":
    sys.exit(run_service(build))
