"""What a contributor's own programs ask: a session for his wallet, and the feed of his money."""
