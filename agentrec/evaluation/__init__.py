"""Metrics, baselines and paired intervals."""
