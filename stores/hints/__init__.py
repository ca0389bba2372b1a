"""Hint knowledge bases: embedded in a folder, in memory, or on a Qdrant server."""
