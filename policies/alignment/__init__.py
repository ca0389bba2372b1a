"""Tuning a language model on preference pairs."""
