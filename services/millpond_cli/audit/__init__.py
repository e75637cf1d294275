"""The same wei from the same topics, computed again by somebody who has no access to the pool's databases."""

from typing import Final

# 1: pay from lines and income. 2: each line from its sources. 3: nothing left out.
LEVELS: Final = 3
