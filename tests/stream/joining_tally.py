"""A tally that joins two topics of twelve partitions by partition. Run as a program by the test of joins."""

from __future__ import annotations

import os
import sys

from millpond.stream.main import run_service
from millpond.stream.service import Service
from stream.tally import Buckets, dead_letters_topic, drops_topic, tally

PARTITIONS = 12


def joining_tally(name: str) -> Service[Buckets]:
    reads = (drops_topic(f"{name}_a", partitions=PARTITIONS), drops_topic(f"{name}_b", partitions=PARTITIONS))
    return tally(name, reads=reads, dead_letters=dead_letters_topic(name, PARTITIONS))


if __name__ == "__main__":
    sys.exit(run_service(lambda: joining_tally(os.environ["TALLY_NAME"])))
