"""``play`` lends a scheduler with an open pool: terms, one gateway, no GPUs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.play import Play
from scheduler.samples import gateway, terms


@pytest.fixture
def play() -> Iterator[Play]:
    play = Play()
    play(terms(), gateway())
    yield play
    # What is remembered follows from what was published, but for signs of life.
    folded = play.folded()
    assert folded.jobs == play.board.jobs
    assert folded.attempts.keys() == play.board.attempts.keys()
    assert folded.counts.accepted == play.board.counts.accepted
