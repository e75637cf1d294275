"""From tickets and usage lines to statements: what an epoch's end comes to."""

from __future__ import annotations

import pytest

from millpond.events.rewards_epochs import (
    Checkpoint,
    CloseRefused,
    EpochClosed,
    EpochClosing,
    EpochEnding,
    EpochWaits,
)
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import CHAIN_REVENUE
from millpond.identity import Domain
from millpond.proofs.checkpoint import CheckpointOfAnother, WrongCheckpointSignature, check_checkpoint
from millpond.stream.record import Place
from rewards.story import (
    ANN,
    BEN,
    CAT,
    ENDS,
    POOL,
    POOL_ID,
    PUBLIC_KEY,
    Story,
    close_command,
    commission,
    line,
    reconciled,
    terms,
    ticket,
    unexplained,
    watermarks,
)

HALF_ETHER = 500_000_000_000_000_000


def opened(**sections: dict[str, object]) -> Story:
    return Story().tell(terms(**sections))


def test_income_less_commission_is_shared_by_work() -> None:
    story = opened(split=commission(100_000))
    story.tell(line(ANN, 300, number=1), line(BEN, 600, number=2), line(ANN, 100, number=3))
    closed = story.tell(ticket(HALF_ETHER, number=1)).close()
    (pot,) = closed.pots
    assert (pot.revenue, pot.operator) == (HALF_ETHER, HALF_ETHER // 10)
    assert story.amounts() == {ANN: 180_000_000_000_000_000, BEN: 270_000_000_000_000_000}
    assert (pot.carried_out, closed.work_carried, closed.epoch) == (0, False, 0)


def test_work_weighs_what_its_price_makes_it_exactly() -> None:
    story = opened(split=commission(0))
    # 1/3 wei for a pixel against 2/7: 700 pixels at 1/3 weigh 4900/21, 700 at 2/7 weigh 4200/21.
    story.tell(line(ANN, 700, number=1, wei=1, per_units=3), line(BEN, 700, number=2, wei=2, per_units=7))
    story.tell(ticket(910, number=1)).close()
    assert story.amounts() == {ANN: 490, BEN: 420}


def test_what_rounding_leaves_opens_the_next_epoch() -> None:
    story = opened(split=commission(0))
    for number, who in enumerate((ANN, BEN, CAT)):
        story.tell(line(who, 1, number=number))
    assert story.tell(ticket(10**18, number=1)).close().pots[0].remainder == 1
    for number, who in enumerate((ANN, BEN, CAT)):
        story.tell(line(who, 1, number=10 + number))
    pot = story.tell(ticket(2, number=2)).close().pots[0]
    assert (pot.carried_in, pot.distributed, pot.remainder) == (1, 3, 0)
    assert set(story.amounts().values()) == {1}


def test_money_without_work_waits_for_work_and_pays_its_commission_once() -> None:
    story = opened(split=commission(100_000)).tell(ticket(1_000, number=1))
    pot = story.close().pots[0]
    assert (pot.operator, pot.unearned, pot.carried_out) == (100, 900, 900)
    pot = story.tell(line(ANN, 5, number=1)).close().pots[0]
    assert (pot.operator, pot.carried_in, pot.carried_out) == (0, 900, 0)
    assert story.amounts() == {ANN: 900}


def test_work_without_income_counts_in_the_next_epoch_beside_that_ones() -> None:
    story = opened(split=commission(0)).tell(line(ANN, 300, number=1), line(BEN, 50, number=2, held="odd"))
    assert story.close().work_carried
    (ann, ben) = sorted(story.all(StatementIssued), key=lambda each: each.weight, reverse=True)
    assert (ann.contributor, ann.amount, ann.remarks[0].reason) == (ANN, 0, "no-income")
    assert (ben.contributor, ben.held[0].units) == (BEN, 50)
    story.tell(line(BEN, 100, number=3), line(ANN, 50, number=4), ticket(1_000, number=1))
    pot = story.close().pots[0]
    assert story.amounts() == {ANN: 700, BEN: 200}
    assert pot.set_aside == 100
    assert story.all(StatementIssued)[-1].epoch == 1
    (work,) = next(each for each in story.all(StatementIssued) if (each.epoch, each.contributor) == (1, ANN)).work
    assert (work.units, work.units_carried, work.lines) == (350, 300, 2)


def test_a_remainder_is_no_income_that_would_use_up_an_epochs_work() -> None:
    story = opened(split=commission(0)).tell(line(ANN, 1, number=1), line(BEN, 1, number=2))
    assert story.tell(ticket(3, number=1)).close().pots[0].remainder == 1
    closed = story.tell(line(ANN, 7, number=3)).close()
    assert (closed.work_carried, closed.pots[0].remainder, story.amounts()) == (True, 1, {ANN: 0})
    assert story.tell(ticket(6, number=2)).close().pots[0].distributed == 7
    assert story.amounts() == {ANN: 7}


def test_a_held_line_weighs_its_figure_and_its_share_is_set_aside() -> None:
    story = opened(split=commission(0))
    story.tell(line(ANN, 100, number=1), line(ANN, 300, number=2, held="count-differs"), line(BEN, 600, number=3))
    pot = story.tell(ticket(1_001, number=1)).close().pots[0]
    assert story.amounts() == {ANN: 100, BEN: 600}
    assert (pot.set_aside, pot.remainder) == (300, 1)
    held = next(each for each in story.all(StatementIssued) if each.contributor == ANN).held
    assert [(each.reason, each.lines, each.units, each.set_aside) for each in held] == [("count-differs", 1, 300, 300)]
    # It stays aside, whatever the next epochs bring.
    assert story.tell(line(BEN, 1, number=4), ticket(50, number=2)).close().pots[0].set_aside == 300
    assert story.amounts() == {BEN: 51}


def test_only_what_is_final_is_income_and_each_ticket_once() -> None:
    story = opened(split=commission(0)).tell(line(ANN, 1, number=1))
    story.tell(
        ticket(70, number=1, finality="observed"), ticket(70, number=1), ticket(8, number=2, finality="observed")
    )
    story.tell(ticket(8, number=2, finality="orphaned"), ticket(70, number=1, in_block=99))
    assert story.close().pots[0].revenue == 70
    assert story.tell(ticket(70, number=1, in_block=100)).close().pots[0].revenue == 0


def test_terms_that_are_published_meanwhile_count_from_the_next_epoch_on() -> None:
    story = opened(split=commission(0)).tell(line(ANN, 1, number=1), ticket(100, number=1))
    story.tell(terms(2, effective_from_epoch=0, split=commission(500_000)))
    assert (story.close().terms_version, story.last(EpochClosed).pots[0].operator) == (1, 0)
    story.tell(line(ANN, 1, number=2), ticket(100, number=2))
    assert (story.close().terms_version, story.last(EpochClosed).pots[0].operator) == (2, 50)


def test_terms_of_a_later_epoch_wait_for_it() -> None:
    story = opened(split=commission(0)).tell(terms(2, effective_from_epoch=2, split=commission(500_000)))
    assert [story.close().terms_version for _ in range(3)] == [1, 1, 2]


def test_an_epoch_ends_where_metering_says_that_nothing_is_left() -> None:
    story = opened().tell(ticket(100, number=1)).end_by_command().wait()
    closing = story.last(EpochClosing)
    assert closing.ends == ENDS
    *most, (last, copy) = watermarks(closing)
    for watermark, partition in most:
        story.tell(watermark, partition=partition)
    story.tell(last.model_copy(update={"epoch": 7}), partition=copy)
    story.tell(last.model_copy(update={"ends": {}}), partition=copy).wait(3_600)
    assert not story.all(EpochClosed)
    # A line that comes before the last watermark is of this epoch; the watermark's other copies change nothing.
    story.tell(line(ANN, 1, number=1)).tell(last, partition=copy).wait()
    assert story.amounts() == {ANN: 90}


def test_a_cut_says_how_far_every_input_was_read() -> None:
    story = opened().tell(line(ANN, 1, number=1), line(BEN, 1, number=2), ticket(5, number=1))
    first = {(part.topic, part.partition): part for part in story.close().cut}
    assert sum(part.records for (topic, _), part in first.items() if topic == "metering.usage.v1") == 2 + 72
    assert first["chain.revenue.v1", 0].next_offset == 1
    assert first["pool.terms.v1", 0].numbers == {"registry": 1}
    assert first["treasury.settlements.v1", 0].records == 0
    second = {(part.topic, part.partition): part for part in story.close().cut}
    assert first.keys() == second.keys()
    assert all(part.start == first[place].next_offset for place, part in second.items())


def test_an_epoch_without_anything_is_closed_all_the_same() -> None:
    closed = opened().close()
    assert (closed.statements.size, closed.pots[0].revenue, closed.pots[0].carried_out) == (0, 0, 0)


def test_nobody_gets_what_nobody_can_take() -> None:
    story = opened(split=commission(0)).tell(line(ANN, 1, number=1))
    for number, who in enumerate(("0x" + "00" * 20, BEN.lower() if BEN.lower() != BEN else BEN.upper())):
        story.tell(line(who, 1, number=10 + number))
    pot = story.tell(ticket(300, number=1)).close().pots[0]
    assert (story.amounts(), pot.set_aside) == ({ANN: 100}, 200)


def test_epochs_are_chained_and_signed_with_all_their_figures() -> None:
    story = opened()
    first, second = story.close(), story.close()
    assert second.previous_root == first.root
    checkpoint = story.last(Checkpoint)
    assert check_checkpoint(checkpoint, second.to_bytes(), pool=POOL_ID, key=PUBLIC_KEY) == second
    other = second.model_copy(update={"terms_version": 9})
    with pytest.raises(CheckpointOfAnother, match="closed"):
        check_checkpoint(checkpoint, other.to_bytes(), pool=POOL_ID, key=PUBLIC_KEY)
    with pytest.raises(WrongCheckpointSignature):
        check_checkpoint(checkpoint, second.to_bytes(), pool="another", key=PUBLIC_KEY)
    forged = checkpoint.model_copy(update={"root": first.root})
    with pytest.raises(WrongCheckpointSignature):
        check_checkpoint(forged, second.to_bytes(), pool=POOL_ID, key=PUBLIC_KEY)


def test_the_schedule_ends_an_epoch_by_itself() -> None:
    story = Story(Pool_with_epochs_of(600)).tell(terms())
    assert not story.wait(599).all(EpochEnding)
    assert story.wait(1).all(EpochEnding)
    for watermark, copy in watermarks(story.last(EpochClosing)):
        story.tell(watermark, partition=copy)
    assert story.wait(599).last(EpochClosed).epoch == 0
    assert [each.epoch for each in story.wait(1).all(EpochEnding)] == [0, 1]


def Pool_with_epochs_of(seconds: int) -> object:  # noqa: N802
    return type(POOL)(POOL.domain, POOL.operators, seconds * 1000, POOL.sign)


@pytest.mark.parametrize(("epoch", "again", "reason"), [(1, False, "another-epoch"), (0, True, "already-ending")])
def test_an_order_that_closes_nothing_is_answered_with_a_reason(epoch: int, again: bool, reason: str) -> None:
    story = opened()
    if again:
        story.tell(close_command(0, 5), key="rewards").wait()
    story.tell(close_command(epoch, 9), key="rewards").wait()
    assert [(each.nonce, each.reason) for each in story.all(CloseRefused)] == [(9, reason)]
    assert len(story.all(EpochEnding)) == again


def test_without_terms_nothing_can_be_closed() -> None:
    story = Story().tell(close_command(0, 1), key="rewards").wait()
    assert [each.reason for each in story.all(CloseRefused)] == ["no-terms"]


def test_what_the_operator_did_not_sign_or_signed_before_closes_nothing() -> None:
    story = opened().tell(close_command(0, 1, key="0x" + "22" * 32), key="rewards")
    forged = close_command(0, 1).model_copy(update={"message": {"epoch": 1, "nonce": 1}})
    assert not story.tell(forged, key="rewards").wait().said
    story.close()
    # Read once more, an old order doesn't close the next epoch.
    assert story.tell(close_command(0, 1), key="rewards").wait().state.epoch == 1


def test_income_that_nobody_can_explain_keeps_the_epoch_open_and_is_said_once() -> None:
    story = opened().tell(ticket(100, number=1), unexplained(7)).end_by_command().wait()
    for watermark, copy in watermarks(story.last(EpochClosing)):
        story.tell(watermark, partition=copy)
    story.wait(3_600)
    assert [(each.step, each.reason) for each in story.all(EpochWaits)] == [("close", "income-unexplained")]
    assert not story.all(EpochClosed)
    # An earlier block's word doesn't lift it.
    assert not story.tell(reconciled(6)).wait(10).all(EpochClosed)
    assert story.tell(reconciled(8)).wait(10).all(EpochClosed)


def test_an_input_that_stopped_keeps_the_epoch_open() -> None:
    story = opened()
    story.unread = frozenset({Place(CHAIN_REVENUE.name, 0)})
    story.end_by_command().wait()
    for watermark, copy in watermarks(story.last(EpochClosing)):
        story.tell(watermark, partition=copy)
    assert not story.wait(60).all(EpochClosed)
    assert "chain.revenue.v1[0]" in story.last(EpochWaits).sentence
    story.unread = frozenset()
    assert story.wait(60).all(EpochClosed)


def test_a_signature_counts_in_one_pool() -> None:
    other = type(POOL)(Domain(pool="another", chain_id=31_337), POOL.operators, None, POOL.sign)
    assert not Story(other).tell(terms()).tell(close_command(0, 1), key="rewards").wait().said
