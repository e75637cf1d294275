"""The metrics that Millpond's programs have. Every name is declared here, once, with its kind and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

MetricName = Literal[
    "millpond_build_info",
    "millpond_stream_lag_records",
    "millpond_stream_records_total",
    "millpond_stream_repeats_total",
    "millpond_stream_batch_records",
    "millpond_stream_batch_seconds",
    "millpond_stream_retries_total",
    "millpond_stream_stopped_partitions",
    "millpond_stream_dead_letters_total",
    "millpond_stream_poll_timestamp_seconds",
    "millpond_stream_lease_active",
    "millpond_stream_lease_epoch",
    "millpond_stream_outbox_records",
    "millpond_stream_outbox_oldest_seconds",
    "millpond_stream_relay_published_total",
    "millpond_stream_relay_restarts_total",
]
Kind = Literal["counter", "gauge", "histogram"]
C = TypeVar("C", Counter, Gauge, Histogram)

# Batches are 1 to 500 records, and take from one round trip to a wait for locks that the database cuts off.
RECORDS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


@dataclass(frozen=True)
class Metric:
    """What a metric is. ``labels`` have few values each: never a job, a device or a contributor."""

    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: Final[Mapping[MetricName, Metric]] = {
    "millpond_build_info": Metric("gauge", "1, for the service and version that runs.", ("service", "version")),
    "millpond_stream_lag_records": Metric(
        "gauge", "Records on the log that our own position has not passed.", ("topic", "partition")
    ),
    "millpond_stream_records_total": Metric("counter", "Records applied.", ("topic",)),
    "millpond_stream_repeats_total": Metric(
        "counter",
        "Records dropped since they were applied before: a relay's repeats, a source's duplicates.",
        ("topic",),
    ),
    "millpond_stream_batch_records": Metric(
        "histogram", "Records of a committed transaction.", buckets=RECORDS_BUCKETS
    ),
    "millpond_stream_batch_seconds": Metric(
        "histogram", "Seconds from a batch's arrival to its commit.", buckets=SECONDS_BUCKETS
    ),
    "millpond_stream_retries_total": Metric(
        "counter", "Batches that failed and were tried again; the reason is the error's class.", ("reason",)
    ),
    "millpond_stream_stopped_partitions": Metric(
        "gauge", "1 while a partition waits for a fix or a signed skip.", ("topic", "partition", "reason")
    ),
    "millpond_stream_dead_letters_total": Metric("counter", "Records set aside.", ("topic", "reason")),
    "millpond_stream_poll_timestamp_seconds": Metric(
        "gauge", "Unix time of the last turn of the poll loop; the health check reads the same."
    ),
    "millpond_stream_lease_active": Metric("gauge", "1 on the instance that holds the lease, 0 on a standby."),
    "millpond_stream_lease_epoch": Metric("gauge", "Epoch of the lease as this instance last saw it."),
    "millpond_stream_outbox_records": Metric("gauge", "Records decided and not yet acknowledged by Kafka."),
    "millpond_stream_outbox_oldest_seconds": Metric("gauge", "Age of the oldest of them; 0 if there is none."),
    "millpond_stream_relay_published_total": Metric("counter", "Records acknowledged by Kafka.", ("topic",)),
    "millpond_stream_relay_restarts_total": Metric("counter", "Producers dropped after a send that failed."),
}


class Metrics:
    """The metrics of one service instance, in a registry of their own: two services can share a process, or a test."""

    def __init__(self, *, service: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._collectors = {name: self._made(name, metric) for name, metric in METRICS.items()}
        self.set("millpond_build_info", 1, service=service, version=version("millpond"))

    def add(self, name: MetricName, amount: float = 1, **labels: str | int) -> None:
        """Adds ``amount`` (>= 0) to a counter. Raises ``ValueError`` for wrong labels, ``TypeError`` for another kind."""
        self._child(name, Counter, labels).inc(amount)

    def set(self, name: MetricName, value: float, **labels: str | int) -> None:
        """Sets a gauge."""
        self._child(name, Gauge, labels).set(value)

    def observe(self, name: MetricName, value: float) -> None:
        """Adds an observation to a histogram."""
        self._child(name, Histogram, {}).observe(value)

    def forget(self, name: MetricName, **labels: str | int) -> None:
        """Drops the series with these labels, whatever its others: of a partition that now belongs to somebody else."""
        self._collectors[name].remove_by_labels({label: str(value) for label, value in labels.items()})

    def value(self, name: MetricName, **labels: str | int) -> float | None:
        """What is exposed under ``name`` now; None if nothing is. For tests and health checks."""
        return self.registry.get_sample_value(name, {label: str(value) for label, value in labels.items()})

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes, ``text/plain; version=0.0.4``."""
        return generate_latest(self.registry)

    def _made(self, name: MetricName, metric: Metric) -> Counter | Gauge | Histogram:
        match metric.kind:
            case "counter":
                return Counter(name, metric.meaning, metric.labels, registry=self.registry)
            case "gauge":
                return Gauge(name, metric.meaning, metric.labels, registry=self.registry)
            case "histogram":
                return Histogram(name, metric.meaning, metric.labels, registry=self.registry, buckets=metric.buckets)

    def _child(self, name: MetricName, kind: type[C], labels: Mapping[str, str | int]) -> C:
        collector = self._collectors[name]
        if not isinstance(collector, kind):
            raise TypeError(f"{name} is a {METRICS[name].kind}, not a {kind.__name__.lower()}")
        return collector.labels(**labels) if labels else collector
