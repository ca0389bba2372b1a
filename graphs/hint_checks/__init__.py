"""Checks of hints: form, injection, titles and ids of items, and leaks of the target."""
