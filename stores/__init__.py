"""Hint stores: in memory and in Qdrant."""
