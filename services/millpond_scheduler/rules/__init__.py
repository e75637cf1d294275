"""Which GPU runs which job, and which attempt counts. Pure: time comes in with the inputs."""

from millpond_scheduler.rules.board import Board
from millpond_scheduler.rules.deciding import READS, conclude, decide, fold, recall

__all__ = ["READS", "Board", "conclude", "decide", "fold", "recall"]
