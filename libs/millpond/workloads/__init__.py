"""Each workload's unit and how it is counted: one module a workload."""
