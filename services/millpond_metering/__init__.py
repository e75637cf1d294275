"""What was done, in the workload's unit, and whether to believe it."""
