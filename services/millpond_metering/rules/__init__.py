"""What was done, and whether to believe it. Pure: the same lines in whatever order the topics' records arrive."""

from millpond_metering.rules.decide import decide, fold, keys
from millpond_metering.rules.parts import Job, Part
from millpond_metering.rules.state import NOTHING, State
from millpond_metering.rules.watermarks import Epoch, Progress

__all__ = ["NOTHING", "Epoch", "Job", "Part", "Progress", "State", "decide", "fold", "keys"]
