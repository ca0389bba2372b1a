"""Vectors of sessions and items, for policies and hint search."""
