"""Measured rewards of hints: the table, its file, and which of them to pay for."""
