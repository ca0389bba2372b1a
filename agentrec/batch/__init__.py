"""Batches over many sessions, each session exactly once."""
