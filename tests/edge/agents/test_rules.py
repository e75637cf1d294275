"""A claim has one spelling, one speaker and one place; what is otherwise is refused with the reason that comes first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.agents.device import JOB, Device, compact
from edge.pool import POOL
from millpond.events.agent_claims import PAYLOAD_CHARACTERS_MAX
from millpond.events.device_claims import Gpu, GpuLoad, HeartbeatClaim
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS
from millpond_edge.agents.messages import MESSAGE_BYTES_MAX
from millpond_edge.agents.rules import CLAIMS, Carry, Refuse, Speaker, greet, hear

DEVICE = Device()
SPEAKER = Speaker(POOL, DEVICE.id, DEVICE.session)
NONCE = "0x" + "0b" * 32


def heard(kind: str, payload: str) -> Carry | Refuse:
    return hear(DEVICE.signed(kind, payload), SPEAKER)


def reason(kind: str, payload: str) -> str:
    refuse = heard(kind, payload)
    assert isinstance(refuse, Refuse), payload
    assert refuse.sentence
    return refuse.reason


def test_every_claim_of_the_topic_table_can_be_made() -> None:
    topics = {AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS}
    assert set(CLAIMS) == {kind for topic in topics for kind in topic.event_types}


def test_what_the_agent_writes_is_canonical() -> None:
    gpu = Gpu(hardware_id="GPU-1", kind="nvidia", model="RTX — «4090»", slots=2, workloads=("transcode",))
    loads = (GpuLoad(hardware_id="GPU-1", running=1, temperature_celsius=-3),)
    whole = HeartbeatClaim.model_validate_json(DEVICE.payload()).model_copy(
        update={"loads": loads, "inventory": (gpu,)}
    )
    assert isinstance(heard("Heartbeat", whole.model_dump_json()), Carry)
    assert isinstance(heard("Heartbeat", whole.model_dump_json(exclude_none=True)), Carry)


def test_a_newer_agent_may_say_more() -> None:
    assert isinstance(
        heard("JobProgress", DEVICE.attempt(frames=1, seconds=1.5, more={"b": [1, "é"], "a": None})), Carry
    )
    assert isinstance(heard("Heartbeat", DEVICE.payload(loads=[{"hardware_id": "a", "running": 1, "fan": 2}])), Carry)


@pytest.mark.parametrize(
    "respelt",
    [
        lambda text: text.replace(":", ": ", 1),
        lambda text: text + " ",
        lambda text: "\n" + text,
        lambda text: text.replace('"job"', '"\\u006aob"'),
        lambda text: text.replace('"frames":1', '"frames":1,"frames":1'),
        lambda text: text.replace('"frames":1', '"more":1,"frames":1,"more":1'),
        lambda text: text.replace('"frames":1', '"frames":1,"more":1e2'),
        lambda text: text.replace('"frames":1', '"frames":1,"more":"\\/"'),
        lambda text: compact(dict(reversed(json.loads(text).items()))),
        lambda text: compact({"frames": 1, "more": 1, **json.loads(text)}),
    ],
)
def test_json_in_another_spelling_is_refused(respelt: Any) -> None:
    assert reason("JobProgress", respelt(DEVICE.attempt(frames=1))) == "not-canonical"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("job", JOB.upper()),
        ("job", "{" + JOB + "}"),
        ("job", f"urn:uuid:{JOB}"),
        ("job", JOB.replace("-", "")),
        ("job", f"{JOB} "),
        ("job", f"{JOB}\n"),
        ("job", JOB.replace("c", "с")),  # a Cyrillic one
        pytest.param("session", DEVICE.session.upper(), id="session-upper"),  # drawn anew in each process
        ("sequence", "1"),
        ("sequence", 1.0),
        ("sequence", True),
        ("sequence", 0),
        ("sequence", 2**53 + 1),
        ("attempt", 1.0),
        ("attempt", "1"),
        ("frames", 1.0),
        ("frames", "01"),
        ("frames", -1),
        ("time", "2026-01-01T00:00:00Z"),
        ("time", "2026-01-01T00:00:00.000+00:00"),
        ("time", 1),
    ],
)
def test_a_value_in_another_spelling_is_refused(field: str, value: Any) -> None:
    document = {**json.loads(DEVICE.attempt(frames=1)), field: value}
    assert reason("JobProgress", compact(document)) == "claim-malformed"


@pytest.mark.parametrize("payload", ["", "null", "[]", "{", "NaN", "[" * 100_000, '{"sequence":7}', '{"sequence":-7}'])
def test_what_is_no_claim_is_refused_under_its_number_if_it_has_one(payload: str) -> None:
    refuse = heard("Heartbeat", payload)
    assert isinstance(refuse, Refuse)
    assert (refuse.reason, refuse.sequence) == ("claim-malformed", 7 if "7" in payload and "-" not in payload else None)
    assert len(refuse.sentence) < 2_000


def test_what_is_too_large_is_refused_and_what_is_just_not_fits_the_topic() -> None:
    text = DEVICE.attempt(reason="crashed", sentence="")
    for length, expected in ((PAYLOAD_CHARACTERS_MAX, Carry), (PAYLOAD_CHARACTERS_MAX + 1, Refuse)):
        payload = text[:-1] + ',"more":"' + "\\n" * ((length - len(text) - 10) // 2)
        payload += "x" * (length - len(payload) - 2) + '"}'
        message = DEVICE.signed("JobFailed", payload)
        assert len(message) < MESSAGE_BYTES_MAX
        found = hear(message, SPEAKER)
        assert isinstance(found, expected), length
        if isinstance(found, Carry):
            assert len(found.event.to_bytes()) <= AGENT_RESULTS.value_bytes_max


def test_a_name_in_the_message_beside_the_signature_means_nothing() -> None:
    text = DEVICE.signed("Heartbeat", DEVICE.payload(), device=Device(b"o" * 32).id, contributor="0x" + "00" * 20)
    carry = hear(text, SPEAKER)
    assert isinstance(carry, Carry)
    assert (carry.event.device, carry.key) == (DEVICE.id, DEVICE.id)


def test_who_greets_is_whose_key_signs() -> None:
    assert greet(DEVICE.hello(NONCE), nonce=NONCE, pool=POOL) == SPEAKER
    for changed in (
        DEVICE.hello("0x" + "0c" * 32),
        DEVICE.hello(NONCE, device=Device(b"o" * 32).id),
        DEVICE.hello(NONCE, session=Device().session),
        DEVICE.hello(NONCE, type="Heartbeat"),
        Device(pool="puddle").hello(NONCE),
    ):
        assert isinstance(greet(changed, nonce=NONCE, pool=POOL), Refuse)
