"""Incident 9, `openpool-unomp271-empty-payee`, metering's part: whose work it was is on the topics, not in a memory.

The link from a job to its worker was a map in memory. After a restart a finished job credited the empty address.
"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from metering.memory_store import Kept, loaded, saved
from metering.samples import CONTRIBUTOR, Topics, kept, lines, story, told
from millpond.events.metering_usage import UsageHeld, UsageRecorded

TOLD = story()


class NaiveMeter:
    """What the source did: who works on what is remembered until the process ends."""

    def __init__(self) -> None:
        self.workers: dict[str, str] = {}

    def assigned(self, job: str, worker: str) -> None:
        self.workers[job] = worker

    def finished(self, job: str) -> str:
        return self.workers.get(job, "")


@pytest.mark.parametrize("restarted_after", range(5))
def test_work_is_attributed_from_the_topics_whenever_metering_was_restarted(restarted_after: int) -> None:
    received = Topics().put_all([TOLD])
    kept_rows: Kept = {}
    saved(kept_rows, told(received[:restarted_after]).state)
    (out,) = told(received[restarted_after:], loaded(kept_rows, [TOLD.job])).events
    assert isinstance(out.event, UsageRecorded)
    assert (out.key, out.event.contributor) == (CONTRIBUTOR, CONTRIBUTOR)


@pytest.mark.parametrize("payee", ["", "n/a", "0x0", "0x", CONTRIBUTOR + "0", " " + CONTRIBUTOR])
def test_what_is_no_address_is_not_even_an_event(payee: str) -> None:
    with pytest.raises(ValidationError):
        kept(TOLD.job, TOLD.result, contributor=payee)


@pytest.mark.parametrize("payee", ["0x" + "0" * 40, CONTRIBUTOR.lower(), CONTRIBUTOR.swapcase().replace("0X", "0x")])
def test_an_address_that_nobody_can_have_meant_is_held_with_a_reason(payee: str) -> None:
    (line,) = lines(Topics().put_all([TOLD.but(kept=kept(TOLD.job, TOLD.result, contributor=payee))]))
    assert isinstance(line, UsageHeld)
    assert line.reason == "payee-invalid"
    assert payee in line.sentence


def test_the_empty_address_is_credited_where_the_link_is_a_memory() -> None:
    before = NaiveMeter()
    before.assigned(TOLD.job, CONTRIBUTOR)
    restarted = NaiveMeter()
    assert restarted.finished(TOLD.job) == ""
