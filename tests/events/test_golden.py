"""Golden samples: the bytes of every event that was ever published, read with today's models.

``golden/<topic>/<Type>.v1-<n>.json`` is the value of one record; all services' dead letters are under ``deadletters.v1``,
all gateways' requests under ``requests.v1``.
A sample is never edited or deleted. A field added to an event gets a new sample (the next n), and the old ones show that
its default is there. A missing sample's test says which file to write, and with what.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millpond.events.event import Event
from millpond.events.topics import TOPICS, gateway_requests

GOLDEN = Path(__file__).parent / "golden"


def folder_of(topic: str) -> str:
    """One folder for all services' dead letters, one for all gateways' requests: they carry the same events."""
    *_, dataset, version = topic.split(".")
    return f"{dataset}.{version}" if dataset in ("deadletters", "requests") else topic


MODELS: dict[tuple[str, str], type[Event]] = {
    (folder_of(topic.name), name): event
    for topic in (*TOPICS.values(), gateway_requests("id"))
    for name, event in topic.event_types.items()
}
SAMPLES = sorted(GOLDEN.glob("*/*.json"))


def says_the_same(old: object, new: object) -> bool:
    """Whether everything ``old`` says still stands in ``new``, which may say more."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and says_the_same(value, new[name]) for name, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(says_the_same(*pair) for pair in zip(old, new, strict=True))
    # 1 == True == 1.0 in Python, and not on a topic.
    return type(old) is type(new) and old == new


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_old_event_says_the_same_in_todays_model(sample: Path) -> None:
    old = sample.read_bytes()
    name = sample.stem.split(".")[0]
    model = MODELS.get((sample.parent.name, name))
    assert model is not None, f"{name} is no longer in the table, but it is on {sample.parent.name} for ever."
    event = model.model_validate_json(old)
    assert says_the_same(json.loads(old), json.loads(event.to_bytes()))
    # Read back again, nothing is lost, and a second writing gives the same bytes.
    assert model.model_validate_json(event.to_bytes()) == event


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_newer_writers_fields_are_passed_over(sample: Path) -> None:
    model = MODELS[sample.parent.name, sample.stem.split(".")[0]]
    newer = json.loads(sample.read_bytes()) | {"a_field_of_tomorrow": {"deep": [1]}}
    assert model.model_validate_json(json.dumps(newer)) == model.model_validate_json(sample.read_bytes())


@pytest.mark.parametrize(("folder", "name"), sorted(MODELS))
def test_every_event_has_a_sample_with_all_its_fields(folder: str, name: str) -> None:
    fields = set(MODELS[folder, name].model_fields)
    samples = [json.loads(path.read_bytes()) for path in sorted((GOLDEN / folder).glob(f"{name}.v1-*.json"))]
    assert any(fields <= sample.keys() for sample in samples), (
        f"Write the bytes of a {name} (event.to_bytes()) to {folder}/{name}.v1-{len(samples) + 1}.json with the fields "
        f"{', '.join(sorted(fields))}."
    )


def test_samples_are_the_very_bytes_of_a_value() -> None:
    for sample in SAMPLES:
        value = sample.read_bytes()
        assert value == json.dumps(json.loads(value), separators=(",", ":"), ensure_ascii=False).encode(), sample
