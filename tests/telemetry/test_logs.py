"""Logs: one format for all who write, and no secret in any."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace

from millpond.settings import LogSettings
from millpond.telemetry.logs import adopt_loggers, set_up_logs

SECRET = "hunter2"
DSN = f"postgresql://pond:{SECRET}@db/pond"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.captureWarnings(False)
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    set_up_logs(LogSettings(), service="metering", stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_where_nobody_looks(stream: io.StringIO) -> None:
    structlog.get_logger("millpond.stream").info("batch committed", topic="agent.results.v1", records=500)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "service": "metering",
        "event": "batch committed",
        "topic": "agent.results.v1",
        "records": 500,
        "level": "info",
        "logger": "millpond.stream",
    }


def test_a_line_is_readable_on_a_terminal() -> None:
    terminal = Terminal()
    set_up_logs(LogSettings(), service="metering", stream=terminal)
    structlog.get_logger().info("batch committed", records=500)
    assert "batch committed" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


@pytest.mark.parametrize("name", ["aiokafka.consumer", "faststream", "uvicorn.access", "py.warnings"])
def test_libraries_write_the_same_lines(name: str) -> None:
    own = io.StringIO()
    logger = logging.getLogger(name)
    logger.addHandler(logging.StreamHandler(own))
    logger.propagate = False
    # A server of an earlier test may have been told to be quiet.
    logger.setLevel(logging.NOTSET)
    stream = io.StringIO()
    set_up_logs(LogSettings(), service="metering", stream=stream)
    logger.warning("joined group %s", "metering")
    assert [(line["event"], line["level"], line["logger"]) for line in lines(stream)] == [
        ("joined group metering", "warning", name)
    ]
    assert own.getvalue() == ""


def test_a_logger_that_came_later_can_be_adopted(stream: io.StringIO) -> None:
    late = logging.getLogger("late")
    late.addHandler(logging.StreamHandler(io.StringIO()))
    late.propagate = False
    adopt_loggers()
    late.warning("here")
    assert lines(stream)[0]["event"] == "here"


def test_warnings_are_logged(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in lines(stream)[0]["event"]


def test_the_level_holds_for_all(stream: io.StringIO) -> None:
    logging.getLogger("aiokafka").debug("fetch")
    structlog.get_logger().debug("poll")
    assert lines(stream) == []


@pytest.mark.parametrize("on_terminal", [False, True])
def test_no_secret_is_logged_by_anybody(on_terminal: bool) -> None:
    stream = Terminal() if on_terminal else io.StringIO()
    set_up_logs(LogSettings(), service="metering", stream=stream)
    log = structlog.get_logger()
    log.info("connecting", dsn=DSN, url=DSN, nested={"sasl": [{"password": SECRET}]}, bound=(DSN,))
    log.info("connecting to %s", DSN)
    logging.getLogger("aiokafka").warning("can't reach %s", DSN)
    logging.getLogger("aiokafka").warning("options", extra={"sasl_plain_password": SECRET})
    for logger in (log, logging.getLogger("asyncpg")):
        try:
            local_password = SECRET
            raise OSError(f"{DSN} refused" if local_password else "")
        except OSError:
            logger.exception("failed")
    assert SECRET not in stream.getvalue()
    assert stream.getvalue().count("OSError") >= 2


def test_a_line_inside_a_span_names_its_trace(stream: io.StringIO) -> None:
    context = trace.SpanContext(trace_id=0xAB, span_id=0xCD, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        structlog.get_logger().info("inside")
        logging.getLogger("aiokafka").warning("inside")
    for line in lines(stream):
        assert (line["trace_id"], line["span_id"]) == (f"{0xAB:032x}", f"{0xCD:016x}")


def test_what_is_bound_to_the_task_is_on_every_line(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(topic="t"):
        logging.getLogger("aiokafka").warning("inside")
    assert lines(stream)[0]["topic"] == "t"


def test_importing_sets_up_nothing() -> None:
    code = (
        "import logging, millpond.telemetry.logs, millpond.telemetry.traces, millpond.telemetry.metrics;"
        "assert not logging.root.handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
