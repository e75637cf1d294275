"""``python -m millpond_chain_watcher``: tells the pool what the chain paid it, and what became of its payments."""

from __future__ import annotations

import sys

from millpond.stream.main import run_program
from millpond_chain_watcher.running import NAME, ChainWatcher, RunSettings

if __name__ == "__main__":
    sys.exit(run_program(NAME, lambda _: ChainWatcher(RunSettings.load()).run()))
