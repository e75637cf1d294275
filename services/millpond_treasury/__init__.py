"""Pays exactly what it is ordered to, once."""
