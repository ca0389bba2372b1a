"""Hint policies that proximal policy optimisation trains."""
