"""Runs: the folder of a run, its manifest, and opening it."""
