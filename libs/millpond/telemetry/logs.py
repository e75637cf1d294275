"""One stream of log lines per program: readable on a terminal, JSON elsewhere, and without secrets."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from millpond.redaction import redacted
from millpond.settings.logs import LogSettings


def set_up_logs(settings: LogSettings, *, service: str, stream: TextIO | None = None) -> None:
    """Routes structlog and the standard library's logging to ``stream`` (standard error), one line an event.

    Call it once, after the imports and before anything starts. Uvicorn must get ``log_config=None`` and FastStream
    ``logger=logging.getLogger("faststream")``, since both would install handlers of their own later on.
    """
    stream = sys.stderr if stream is None else stream
    for_people = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_taken_where_it_happens(),
            processors=[*_added_to_every_line(service), _renderer(for_people, colors=stream.isatty())],
        )
    )
    adopt_loggers()
    logging.root.handlers = [handler]
    logging.root.setLevel(settings.level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_taken_where_it_happens(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def adopt_loggers() -> None:
    """Takes their own handlers from the loggers that exist, so that their lines are redacted and formatted like all."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True


def _taken_where_it_happens() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _added_to_every_line(service: str) -> list[Processor]:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {"service": service, **event}

    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        add_service,
        _add_trace,
        # Tracebacks become text before the redaction: they quote whatever the failing line had in hand.
        structlog.processors.format_exc_info,
        _redact,
    ]


def _renderer(for_people: bool, *, colors: bool) -> Processor:
    if for_people:
        return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    shown: EventDict = redacted(event)
    return shown
