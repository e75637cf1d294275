"""After a loss: a database rebuilt, a log completed, topics exported and restored."""
