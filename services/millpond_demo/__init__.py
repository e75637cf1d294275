"""The whole pool on one machine, with a story to watch."""
