"""Metrics: their names are the same in code, in the docs and on the wire."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from millpond.telemetry.metrics import METRICS, MetricName, Metrics
from millpond.telemetry.readme import README, with_metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(service="metering")


def test_every_declared_name_has_a_kind_and_a_meaning() -> None:
    assert set(METRICS) == set(get_args(MetricName))
    for name, metric in METRICS.items():
        assert metric.meaning.endswith("."), name
        assert re.fullmatch("millpond_[a-z_]+", name)
        assert name.endswith("_total") == (metric.kind == "counter"), name


def test_the_readme_lists_todays_metrics() -> None:
    text = README.read_text()
    assert text == with_metrics(text), "run: python -m millpond.telemetry.readme"


def test_every_metric_is_exposed_under_its_name(metrics: Metrics) -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    for name, metric in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)


def test_a_counter_adds_up_a_gauge_is_set_a_histogram_counts(metrics: Metrics) -> None:
    metrics.add("millpond_stream_dead_letters_total", topic="t", reason="poison")
    metrics.add("millpond_stream_dead_letters_total", 2, topic="t", reason="poison")
    metrics.set("millpond_stream_lag_records", 7, topic="t", partition=3)
    metrics.observe("millpond_stream_batch_records", 500)
    assert metrics.value("millpond_stream_dead_letters_total", topic="t", reason="poison") == 3
    assert metrics.value("millpond_stream_lag_records", topic="t", partition=3) == 7
    assert b'millpond_stream_batch_records_bucket{le="200.0"} 0.0' in metrics.exposition()
    assert b'millpond_stream_batch_records_bucket{le="500.0"} 1.0' in metrics.exposition()


def test_what_is_no_longer_ours_is_not_shown(metrics: Metrics) -> None:
    metrics.set("millpond_stream_stopped_partitions", 1, topic="t", partition=3, reason="gap")
    metrics.set("millpond_stream_stopped_partitions", 1, topic="t", partition=4, reason="gap")
    metrics.forget("millpond_stream_stopped_partitions", topic="t", partition=3)
    assert metrics.value("millpond_stream_stopped_partitions", topic="t", partition=3, reason="gap") is None
    assert metrics.value("millpond_stream_stopped_partitions", topic="t", partition=4, reason="gap") == 1
    metrics.forget("millpond_stream_lag_records", topic="never", partition=0)


def test_a_metric_used_as_another_kind_is_refused(metrics: Metrics) -> None:
    with pytest.raises(TypeError, match="millpond_stream_lease_epoch is a gauge, not a counter"):
        metrics.add("millpond_stream_lease_epoch")


def test_a_metric_without_its_labels_is_refused(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="label"):
        metrics.set("millpond_stream_lag_records", 7)
    with pytest.raises(ValueError, match="label"):
        metrics.set("millpond_stream_lag_records", 7, topic="t")


def test_two_instances_in_one_process_do_not_mix(metrics: Metrics) -> None:
    other = Metrics(service="registry")
    metrics.set("millpond_stream_lease_active", 1)
    assert other.value("millpond_stream_lease_active") == 0
