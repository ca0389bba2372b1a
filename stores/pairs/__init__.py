"""Preference pairs: sinks that keep them, and their export, statistics and data card."""
