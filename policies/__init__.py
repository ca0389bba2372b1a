"""Hint policies and their trainers."""
