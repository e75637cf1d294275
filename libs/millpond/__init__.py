"""Millpond: a Livepeer orchestrator pool on other people's GPUs, whose every wei anyone can recompute."""
