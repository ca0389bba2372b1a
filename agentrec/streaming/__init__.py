"""Streams of concurrent tasks, and computations that run in the event loop or in a thread."""
