"""What edge knows of the pool: read models in memory, each from its topic's beginning at every start."""
