"""Batches over many sessions: each session gets exactly one result, by one worker or several."""
