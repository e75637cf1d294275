"""What the tests of the stream library share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.workers import Workers


@pytest.fixture
def workers(kafka_bootstrap: str, database: str, run_directory: Path) -> Iterator[Workers]:
    """Starts tally processes; none is left after the test."""
    started = Workers(kafka_bootstrap, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    yield started
    started.end()


@pytest.fixture
def impatient_workers(impatient_kafka: str, database: str, run_directory: Path) -> Iterator[Workers]:
    """As ``workers``, on that Kafka."""
    started = Workers(impatient_kafka, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    yield started
    started.end()
