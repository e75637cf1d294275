"""Which GPU runs which job; which attempt counts."""
