"""What the tests of the stream library share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from millpond.localstack import LocalStack
from stream.workers import Workers


@pytest.fixture
def workers(kafka_bootstrap: str, database: str, run_directory: Path) -> Iterator[Workers]:
    """Starts tally processes; none is left after the test."""
    started = Workers(kafka_bootstrap, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    yield started
    started.end()


@pytest.fixture(scope="session")
def impatient_kafka(run_directory: Path) -> Iterator[str]:
    """A Kafka that lets a member name a session of less than 6 s: a test with thirty deaths can't wait 10 s for each."""
    settings = {"group.min.session.timeout.ms": "500"}
    with LocalStack(run_directory / "impatient", ("kafka",), kafka_settings=settings) as stack:
        yield stack.kafka.bootstrap_servers
    stack.discard()


@pytest.fixture
def impatient_workers(impatient_kafka: str, database: str, run_directory: Path) -> Iterator[Workers]:
    """As ``workers``, on that Kafka."""
    started = Workers(impatient_kafka, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    yield started
    started.end()
