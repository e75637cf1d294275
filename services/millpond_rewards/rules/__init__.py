"""What is owed to whom. Pure: the service and the audit run the same functions.

``decide`` is the service's entrance; ``close_epoch`` is what an audit calls, on what it read itself.
"""

from millpond_rewards.rules.close import (
    SPLITS,
    Closed,
    Inputs,
    Opening,
    TermsInForce,
    after_closing,
    close_epoch,
)
from millpond_rewards.rules.cut import PlaceTally, after_cut, cut_of
from millpond_rewards.rules.decide import decide, fold, recall
from millpond_rewards.rules.lines import fold_records, key_of
from millpond_rewards.rules.pots import Carried
from millpond_rewards.rules.state import READS, Pool, State
from millpond_rewards.rules.statements import Share
from millpond_rewards.rules.weights import Count, LineFold, Work, WorkKey

__all__ = [
    "READS",
    "SPLITS",
    "Carried",
    "Closed",
    "Count",
    "Inputs",
    "LineFold",
    "Opening",
    "PlaceTally",
    "Pool",
    "Share",
    "State",
    "TermsInForce",
    "Work",
    "WorkKey",
    "after_closing",
    "after_cut",
    "close_epoch",
    "cut_of",
    "decide",
    "fold",
    "fold_records",
    "key_of",
    "recall",
]
