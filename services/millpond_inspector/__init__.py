"""Opens outputs in a sandbox without keys or network, and says what it saw."""
