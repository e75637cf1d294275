"""What is quoted of a component's log when it fails."""

from __future__ import annotations

from millpond.localstack.process import LOG_CHARACTERS_MAX, telling_part

MARKS = (" ERROR ", " FATAL ")
TALK = "13:58:13 INFO Broker: shut down\n" * 1_000


def test_a_log_is_quoted_from_its_first_error_on() -> None:
    log = "13:58:11 INFO Broker: starting\n13:58:12 ERROR Broker: Address already in use\n" + TALK
    told = telling_part(log, MARKS)
    assert told.startswith("13:58:12 ERROR Broker: Address already in use\n13:58:13 INFO")
    assert len(told) == LOG_CHARACTERS_MAX


def test_without_one_it_is_its_end() -> None:
    assert telling_part(TALK + "over", MARKS) == (TALK + "over")[-LOG_CHARACTERS_MAX:]
    assert telling_part("over", ()) == "over"
