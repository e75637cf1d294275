"""``python -m millpond_edge``: the pool's door."""

from __future__ import annotations

import sys

from millpond.stream.main import run_program
from millpond_edge.running import NAME, Edge, RunSettings

if __name__ == "__main__":
    sys.exit(run_program(NAME, lambda _: Edge(RunSettings.load()).run()))
