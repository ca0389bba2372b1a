"""Batches of very many sessions: what came of each is written once, whatever happens."""
