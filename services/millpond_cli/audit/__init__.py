"""The same wei from the same topics, computed again by somebody who has no access to the pool's databases."""
