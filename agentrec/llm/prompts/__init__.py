"""Prompts and what they show of a session."""
