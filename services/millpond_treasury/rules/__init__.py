"""Whom to pay next, and what follows from what the chain says. Pure."""

from millpond_treasury.rules.decide import decide, fold, recall
from millpond_treasury.rules.state import READS, State, Treasury

__all__ = ["READS", "State", "Treasury", "decide", "fold", "recall"]
