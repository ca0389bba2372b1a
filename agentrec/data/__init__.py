"""Interactions, sessions, splits and negatives; the neutral on-disk format; fetching MovieLens-100K."""
