"""The GPUs that have a free slot, the best first."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple


class Rank(NamedTuple):
    """``score``: see ``Candidate``. Among equals whose last job is longest ago comes first (a newcomer before all)."""

    score: int
    last_assigned: int
    gpu: str


class Ranking:
    """Sorted at all times: one list of 10,000 takes a few microseconds to change, and nobody is looked at twice."""

    def __init__(self) -> None:
        self._order: list[Rank] = []
        self._ranks: dict[str, Rank] = {}

    def __iter__(self) -> Iterator[Rank]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def put(self, rank: Rank) -> None:
        self.drop(rank.gpu)
        insort(self._order, rank)
        self._ranks[rank.gpu] = rank

    def drop(self, gpu: str) -> None:
        rank = self._ranks.pop(gpu, None)
        if rank is not None:
            del self._order[bisect_left(self._order, rank)]
