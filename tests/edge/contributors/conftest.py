"""As for those who join: sessions lie in a real database."""

from __future__ import annotations

from edge.joining.conftest import edge, tables

__all__ = ["edge", "tables"]
