"""What is due comes once, in order, and what was put off leaves nothing behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond_scheduler.rules.agenda import STALE_MAX, Agenda
from millpond_scheduler.rules.ranking import Rank, Ranking

STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 20))), max_size=60)


@given(STEPS, st.integers(0, 20))
def test_each_id_is_due_at_the_time_it_was_given_last(steps: list[tuple[str, int | None]], now_ms: int) -> None:
    agenda, at_ms = Agenda(), dict[str, int]()
    for id_, time_ms in steps:
        if time_ms is None:
            agenda.drop(id_)
            at_ms.pop(id_, None)
        else:
            agenda.put(id_, time_ms)
            at_ms[id_] = time_ms
    assert agenda.earliest_ms() == min(at_ms.values(), default=None)
    due = sorted((time_ms, id_) for id_, time_ms in at_ms.items() if time_ms <= now_ms)
    assert agenda.take_due(now_ms) == [id_ for _, id_ in due]
    assert agenda.take_due(now_ms) == []
    assert len(agenda) == len(at_ms) - len(due)


def test_what_is_put_off_for_ever_takes_no_memory() -> None:
    agenda = Agenda()
    for n in range(50 * STALE_MAX):
        agenda.put("lease", n)
    assert len(agenda._heap) <= STALE_MAX + 3
    assert agenda.take_due(10**9) == ["lease"]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.one_of(st.none(), st.integers(0, 3))), max_size=60))
def test_a_ranking_holds_each_gpu_once_in_order(steps: list[tuple[str, int | None]]) -> None:
    ranking, wanted = Ranking(), dict[str, Rank]()
    for gpu, score in steps:
        if score is None:
            ranking.drop(gpu)
            wanted.pop(gpu, None)
        else:
            wanted[gpu] = Rank(score, 0, gpu)
            ranking.put(wanted[gpu])
    assert list(ranking) == sorted(wanted.values())
