"""Every line of the due-diligence checklist for orchestrator pools has its answer in the terms, in the open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millpond.terms import Terms, canonical, read_terms_file, terms_hash

EXAMPLE = Path(__file__).parents[2] / "deploy" / "terms" / "example.yaml"

# The checklist of the Livepeer documentation on orchestrator pools, line by line, and the fields that answer it.
CHECKLIST = {
    "How earnings are calculated": ("split.earnings", "split.policy", "prices"),
    "How usage is measured": ("work.measured",),
    "How disputes are handled": ("operation.disputes", "operation.dispute_window_days"),
    "Whether GPUs can be removed at any time": ("leaving.at_any_time", "leaving.notice_s", "leaving.balance"),
    "What happens during downtime or network changes": ("downtime.consequences", "downtime.network_changes"),
    "On-chain identity and reputation": ("operator.orchestrator", "operator.reputation", "operator.name"),
    "Whether it accepts external GPUs": ("admission.external_gpus", "admission.policy"),
    "GPU models": ("hardware.gpu_models",),
    "VRAM requirements": ("hardware.memory_bytes_min",),
    "Single-GPU vs multi-GPU nodes": ("hardware.multiple_gpus_per_node",),
    "Transcoding (video encoding), AI inference": ("workloads.0.workload",),
    "Real-time pipelines": ("workloads.0.kind",),
    "Latency-sensitive vs batch jobs": ("workloads.0.latency_sensitive",),
    "Percentage paid to GPU owner vs pool operator": ("split.contributors_share_ppm", "split.operator_share_ppm"),
    "Inflation rewards, typically shared with pool participants": ("split.inflation_to_contributors_ppm",),
    "Any performance multipliers or penalties": ("split.multipliers", "split.penalties"),
    "Asset used": ("payout.assets",),
    "Payout frequency": ("payout.frequency",),
    "Minimum payout thresholds": ("payout.minimum",),
    "Uptime expectations": ("downtime.uptime_expected",),
    "Monitoring or alerting requirements": ("downtime.monitoring", "downtime.heartbeat_s"),
    "Geographic or networking constraints": ("operation.regions", "operation.network"),
}


def answer(document: Any, path: str) -> Any:
    for step in filter(None, path.split(".")):
        document = document[int(step)] if step.isdigit() else document[step]
    return document


@pytest.mark.parametrize("line", CHECKLIST)
def test_the_example_answers_each_line_of_the_checklist(line: str) -> None:
    document = json.loads(canonical(read_terms_file(EXAMPLE)))
    for path in CHECKLIST[line]:
        assert answer(document, path) not in (None, "", [], {}), path


@pytest.mark.parametrize("path", [path for paths in CHECKLIST.values() for path in paths])
def test_no_terms_can_leave_an_answer_out(path: str) -> None:
    document = json.loads(canonical(read_terms_file(EXAMPLE)))
    *sections, field = path.split(".")
    del answer(document, ".".join(sections))[field]
    with pytest.raises(ValueError, match="Field required"):
        Terms.model_validate_json(json.dumps(document))


def test_the_document_has_one_spelling_and_its_hash_is_over_the_bytes() -> None:
    read = read_terms_file(EXAMPLE)
    document = canonical(read)
    assert canonical(Terms.model_validate_json(document)) == document
    assert terms_hash(document) == terms_hash(canonical(read_terms_file(EXAMPLE)))
    assert terms_hash(document) != terms_hash(document.replace("Demo pool", "Demo pond"))


def test_the_price_of_a_workload_is_its_own_and_of_others_there_is_none() -> None:
    read = read_terms_file(EXAMPLE)
    price = read.price("transcode")
    assert price is not None
    assert (price.wei, price.per_units, price.unit) == (70, 1, "pixel")
    assert read.price("paint") is None
