"""A real stack for every test that asks for one."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import hypothesis
import pytest

from millpond.localstack import COMPONENTS, LocalStack

RUNS = Path(__file__).parents[1] / ".local" / "tests"

OwnStack = Callable[..., LocalStack]

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take long begin first: a worker that comes to one at the end would work on while the others have gone."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def run_directory() -> Iterator[Path]:
    """This run's own state, gone after it; what earlier runs that were killed have left goes now."""
    for left in RUNS.glob("*"):
        if not Path(f"/proc/{left.name}").exists():
            shutil.rmtree(left, ignore_errors=True)
    directory = RUNS / str(os.getpid())
    directory.mkdir(parents=True)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(run_directory: Path) -> Iterator[LocalStack]:
    """Kafka and PostgreSQL, shared by the whole run: don't break it, ask for ``own_stack``."""
    with LocalStack(run_directory / "shared", ("kafka", "postgres")) as stack:
        yield stack
    stack.discard()


@pytest.fixture(scope="session")
def anvil_url(run_directory: Path) -> Iterator[str]:
    """A chain shared by the whole run; ``evm_snapshot`` and ``evm_revert`` are the test's business."""
    with LocalStack(run_directory / "chain", ("anvil",)) as stack:
        yield stack.anvil.url
    stack.discard()


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: LocalStack) -> str:
    """Topics outlive a test: give each a name of its own."""
    return stack.kafka.bootstrap_servers


@pytest.fixture(scope="session")
def impatient_kafka(run_directory: Path) -> Iterator[str]:
    """A Kafka that lets a member name a session of less than 6 s: a test with thirty deaths can't wait 10 s for each."""
    settings = {"group.min.session.timeout.ms": "500"}
    with LocalStack(run_directory / "impatient", ("kafka",), kafka_settings=settings) as stack:
        yield stack.kafka.bootstrap_servers
    stack.discard()


@pytest.fixture
def database(stack: LocalStack) -> Iterator[str]:
    """The DSN of an empty database, dropped after the test together with whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(stack.postgres.dsn(), f"CREATE DATABASE {name} TEMPLATE template0")
    yield stack.postgres.dsn(name)
    _execute(stack.postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def own_stack(run_directory: Path) -> Iterator[OwnStack]:
    """Starts a stack for this test alone, to be broken: ``own_stack("kafka", kafka_settings={...})``."""
    with ExitStack() as started:

        def start(*components: str, **options: object) -> LocalStack:
            directory = run_directory / f"own-{uuid.uuid4().hex[:8]}"
            stack = LocalStack(directory, components or COMPONENTS, **options)  # type: ignore[arg-type]
            started.callback(stack.discard)
            return started.enter_context(stack)

        yield start


def _execute(dsn: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    # In a thread of its own: an event loop may be about to run, or running, in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, execute()).result()
