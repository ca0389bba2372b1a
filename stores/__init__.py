"""Hint stores, in memory and in Qdrant; where preference pairs go."""
