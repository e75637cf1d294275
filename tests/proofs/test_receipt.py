"""A receipt proves what it says, and whatever is changed in it, it proves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metering.samples import (
    DEVICE,
    OTHER_DEVICE,
    PIXELS,
    POOL,
    POOL_KEY,
    RENDITIONS,
    Story,
    claim,
    kept,
    looks,
    only_line,
    output,
    signed,
    story,
)
from millpond.events.metering_usage import UNSIGNED, UsageHeld, UsageRecorded
from millpond.proofs import (
    ClaimDiffers,
    ClaimMissing,
    ClaimOfAnotherDevice,
    ClaimOfAnotherJob,
    FiguresDiffer,
    LineDiffers,
    ReceiptKey,
    ReceiptRefused,
    ReceiptUnreadable,
    WrongClaimSignature,
    WrongCountersignature,
    canonical_text,
    check_receipt,
    countersign,
)

ANOTHER_KEY = ReceiptKey(b"\x08" * 32)


def document(told: Story | None = None, **changes: Any) -> dict[str, Any]:
    """As the agent stores it."""
    told = told or story()
    line = only_line(told)
    claimed = {"device": told.result.device, "payload": told.result.payload, "signature": told.result.signature}
    facts = {"pool": POOL, "type": line.type_name, "event": json.loads(line.to_bytes()), "claim": claimed}
    return {**facts, **changes}


def as_file(of: dict[str, Any]) -> bytes:
    return json.dumps(of, indent=1, ensure_ascii=False).encode()


def check(of: dict[str, Any]) -> Any:
    return check_receipt(as_file(of), key=POOL_KEY.public)


def resigned(of: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What a pool that lies would sign."""
    kind = UsageRecorded if of["type"] == "UsageRecorded" else UsageHeld
    line: Any = kind.model_validate_json(json.dumps({**of["event"], **fields}))
    return {**of, "event": json.loads(countersign(line, pool=POOL, key=POOL_KEY).to_bytes())}


def test_a_receipt_proves_the_line_and_the_claim() -> None:
    told = story()
    checked = check(document(told))
    assert checked.line == only_line(told)
    assert checked.claim == told.result.claim
    assert checked.line.quantity == PIXELS


def test_a_held_line_has_a_receipt_as_well() -> None:
    short = story().but(observations=looks(signed(claim(story().job).model_dump_json())))
    result = signed(claim(short.job, outputs=[output(short.job, RENDITIONS[0])]).model_dump_json())
    held = short.but(result=result, kept=kept(short.job, result), observations=looks(result))
    assert check(document(held)).line.reason == "outputs-differ"


def test_the_order_of_fields_and_the_blanks_of_the_file_don_t_matter() -> None:
    told = document()
    turned = {**told, "event": dict(reversed(told["event"].items()))}
    assert check_receipt(json.dumps(turned, indent=7).encode(), key=POOL_KEY.public).pool == POOL


def test_a_field_that_this_version_does_not_know_is_part_of_what_was_signed() -> None:
    told = document()
    newer = {**told["event"], "bonus": 3}
    text = canonical_text(newer)
    newer["receipt"] = POOL_KEY.sign(pool=POOL, kind="receipt/UsageRecorded", text=text)
    assert check({**told, "event": newer}).line.quantity == PIXELS
    with pytest.raises(WrongCountersignature):
        check({**told, "event": {**newer, "bonus": 4}})


@pytest.mark.parametrize("field", sorted(document()["event"]))
def test_no_field_of_the_line_can_be_changed_or_left_out(field: str) -> None:
    told = document()
    match told["event"][field]:
        case int(number):
            other: Any = number + 1
        case str(text):
            other = text[:-1] + ("0" if text[-1] != "0" else "1")
        case dict(price):
            other = {**price, "wei": "1201"}
        case sources:
            other = sources[1:]
    with pytest.raises((WrongCountersignature, ReceiptUnreadable)):
        check({**told, "event": {**told["event"], field: other}})
    without = {name: value for name, value in told["event"].items() if name != field}
    with pytest.raises((WrongCountersignature, ReceiptUnreadable)):
        check({**told, "event": without})


def test_a_held_line_can_t_be_shown_as_a_recorded_one() -> None:
    result = signed(claim(story().job, outputs=[output(story().job, RENDITIONS[0])]).model_dump_json())
    held = story().but(result=result, kept=kept(story().job, result), observations=looks(result))
    with pytest.raises(WrongCountersignature):
        check({**document(held), "type": "UsageRecorded"})


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        pytest.param({**document(), "pool": "another"}, WrongCountersignature, id="another pool"),
        pytest.param({**document(), "claim": None}, ClaimMissing, id="no claim"),
        pytest.param(
            {**document(), "claim": {**document()["claim"], "device": OTHER_DEVICE.device}},
            ClaimOfAnotherDevice,
            id="another device's claim",
        ),
        pytest.param(
            {**document(), "claim": {**document()["claim"], "payload": document()["claim"]["payload"] + " "}},
            ClaimDiffers,
            id="a blank more in the claim",
        ),
        pytest.param(
            {**document(), "claim": {**document()["claim"], "signature": UNSIGNED}},
            WrongClaimSignature,
            id="a claim that the device didn't sign",
        ),
        pytest.param(resigned(document(), claimed=PIXELS + 1), FiguresDiffer, id="another figure than claimed"),
        pytest.param(resigned(document(), attempt=2), LineDiffers, id="another attempt's line"),
        pytest.param({**document(), "type": "JobSucceeded"}, ReceiptUnreadable, id="another type"),
        pytest.param({"pool": POOL}, ReceiptUnreadable, id="fields are missing"),
    ],
)
def test_the_first_thing_wrong_is_named(told: dict[str, Any], refusal: type[ReceiptRefused]) -> None:
    with pytest.raises(refusal) as refused:
        check(told)
    assert str(refused.value)


def test_a_claim_about_another_job_proves_nothing() -> None:
    other = story("b")
    told = document()
    event = {**told["event"], "result": other.result.payload_hash}
    line = countersign(UsageRecorded.model_validate_json(json.dumps(event)), pool=POOL, key=POOL_KEY)
    claimed = {"device": DEVICE.device, "payload": other.result.payload, "signature": other.result.signature}
    with pytest.raises(ClaimOfAnotherJob):
        check({**told, "event": json.loads(line.to_bytes()), "claim": claimed})


def test_another_key_s_countersignature_is_refused() -> None:
    with pytest.raises(WrongCountersignature, match=ANOTHER_KEY.public):
        check_receipt(as_file(document()), key=ANOTHER_KEY.public)


@pytest.mark.parametrize("given", [b"", b"{", b"[]", b"\xff\xfe", b'"receipt"', b"null", b"[" * 100_000])
def test_what_is_no_receipt_is_told_so(given: bytes) -> None:
    with pytest.raises(ReceiptUnreadable):
        check_receipt(given, key=POOL_KEY.public)


def test_the_same_line_is_signed_the_same_whenever_it_is_made() -> None:
    assert only_line(story()).receipt == only_line(story()).receipt
