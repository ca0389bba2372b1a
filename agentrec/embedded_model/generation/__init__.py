"""Answers of the embedded model, from prompt to text."""
