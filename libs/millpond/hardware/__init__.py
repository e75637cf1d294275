"""What the machine says of its own hardware: what it doesn't say is None, never zero."""
