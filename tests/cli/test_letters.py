"""What the dead-letter topic's records come to, without a broker."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from millpond.events.deadletters import DeadLettered, DeadLetterEvent, ReAdmitted, Resumed, Skipped, Stopped
from millpond.events.envelope import CE_TYPE
from millpond.events.operator_commands import OperatorCommanded, command_item
from millpond.identity import ReadmitRecord, SkipRecord
from millpond.stream.record import Place, Record, content_hash
from millpond_cli.letters import (
    HEX_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    Standing,
    answer_to,
    fold_letters,
    hexdump,
    next_nonce,
    order,
    shown,
)

SIGNER = "0x" + "a" * 40
OTHER = "0x" + "b" * 40
HASH = "0x" + content_hash(b"k", b"v").hex()
WHERE = Standing("agent.results.v1", 3, 17)


def record(event: DeadLetterEvent, offset: int = 0, *, ce_type: bytes | None = None) -> Record:
    headers = ((CE_TYPE, ce_type or event.type_name.encode()),)
    return Record("metering.deadletters.v1", 3, offset, b"k", event.to_bytes(), headers, 1_000 + offset)


def said(kind: type[DeadLetterEvent], *, where: Standing = WHERE, **changes: Any) -> DeadLetterEvent:
    facts: dict[str, Any] = {
        "service": "metering",
        **where._asdict(),
        "reason": "not_json",
        "sentence": "No JSON.",
        "content_hash": HASH,
        "key_base64": b64encode(b"k").decode(),
        "value_base64": b64encode(b"v").decode(),
        "value_bytes": 1,
        "headers": (),
        "timestamp_ms": 5,
    }
    if kind in (Skipped, ReAdmitted):
        facts |= {"signer": SIGNER, "nonce": 7}
    return kind(**{**facts, **changes})


@pytest.mark.parametrize(
    ("story", "state", "command"),
    [
        ([DeadLettered], "aside", "readmit"),
        ([Stopped], "stopped", "skip"),
        ([Stopped, Resumed], "resumed", None),
        ([Stopped, Skipped], "skipped", "readmit"),
        ([Stopped, Skipped, ReAdmitted], "readmitted", None),
        ([DeadLettered, ReAdmitted, DeadLettered], "aside", "readmit"),
    ],
)
def test_the_latest_event_about_a_record_says_its_state_and_what_can_be_ordered(
    story: list[type[DeadLetterEvent]], state: str, command: str | None
) -> None:
    letters = fold_letters(record(said(kind), offset) for offset, kind in enumerate(story))
    assert letters.keys() == {WHERE}
    letter = letters[WHERE]
    assert (letter.state, letter.command, letter.since_ms) == (state, command, 1_000 + len(story) - 1)
    assert (letter.key, letter.value) == (b"k", b"v")


def test_records_are_told_apart_by_their_place_and_what_is_no_event_is_passed_over() -> None:
    other = WHERE._replace(offset=18)
    letters = fold_letters(
        [
            record(said(Stopped), 0),
            record(said(DeadLettered, where=other), 1),
            record(said(Skipped), 2, ce_type=b"Forgotten"),
            record(said(Skipped), 3, ce_type=b"\xff"),
            Record("metering.deadletters.v1", 3, 4, b"k", None, ((CE_TYPE, b"Skipped"),), 0),
            Record("metering.deadletters.v1", 3, 5, b"k", b"{", ((CE_TYPE, b"Skipped"),), 0),
        ]
    )
    assert {standing: letter.state for standing, letter in letters.items()} == {WHERE: "stopped", other: "aside"}


def test_a_value_too_large_for_the_dead_letter_is_known_to_stand_elsewhere() -> None:
    letters = fold_letters([record(said(DeadLettered, value_base64=None, value_bytes=5_000_000))])
    assert letters[WHERE].value_is_elsewhere
    assert not fold_letters([record(said(DeadLettered, value_base64=None, value_bytes=0))])[WHERE].value_is_elsewhere


def test_a_nonce_is_the_time_unless_the_service_has_accepted_a_higher_one_of_this_signer() -> None:
    told = [
        record(said(Skipped, nonce=50)),
        record(said(ReAdmitted, nonce=40)),
        record(said(Skipped, signer=OTHER, nonce=900)),
    ]
    assert next_nonce([], signer=SIGNER, now_ms=30) == 30
    assert next_nonce(told, signer=SIGNER, now_ms=30) == 51
    assert next_nonce(told, signer=SIGNER, now_ms=60) == 60
    assert next_nonce(told, signer=OTHER, now_ms=60) == 901


def test_what_is_signed_names_the_record_and_its_content() -> None:
    (letter,) = fold_letters([record(said(Stopped))]).values()
    for name, kind in (("skip", SkipRecord), ("readmit", ReadmitRecord)):
        action = order(name, letter, reason="seen", nonce=9)  # type: ignore[arg-type]
        assert action == kind(service="metering", **WHERE._asdict(), content_hash=HASH, reason="seen", nonce=9)


def test_the_answer_is_the_event_with_the_commands_nonce_or_the_commands_own_dead_letter() -> None:
    command = OperatorCommanded(signer=SIGNER, action="SkipRecord", message={"nonce": 7}, signature="0x")
    at = (Place("operator.commands.v1", 2), 5)
    own = Standing("operator.commands.v1", 2, 5)
    assert answer_to(command, at, [record(said(Stopped)), record(said(Skipped, nonce=8))]) is None
    assert answer_to(command, at, [record(said(Skipped, signer=OTHER))]) is None
    assert answer_to(command, at, [record(said(Skipped))]) == said(Skipped)
    refusal = said(DeadLettered, where=own, reason="refused_command")
    assert (
        answer_to(command, at, [record(said(DeadLettered, where=own._replace(offset=4))), record(refusal)]) == refusal
    )


def test_an_item_tells_apart_commands_with_one_nonce_to_two_services() -> None:
    command = OperatorCommanded(signer=SIGNER, action="SkipRecord", message={"nonce": 7}, signature="0x")
    assert command_item("metering", command) == f"{SIGNER}/metering/SkipRecord/7"
    assert command_item("rewards", command) != command_item("metering", command)


def test_bytes_are_shown_as_text_if_they_are_text_and_never_without_end() -> None:
    assert shown(None) == "null"
    assert shown(b'{"a": "\xc3\xbc"}') == '{"a": "ü"}'
    assert shown(b"\xff\x00A") == hexdump(b"\xff\x00A") == f"00000000  {'ff 00 41':<47}  ..A"
    # A terminal obeys what is not printable.
    assert "\x1b" not in shown(b"\x1b[2J")
    assert shown(b"x" * (TEXT_CHARACTERS_MAX + 5)).endswith("… and 5 characters more")
    assert shown(b"\xff" * (HEX_BYTES_MAX + 5)).endswith("… and 5 bytes more")
