"""The preference graphs: texts about users, preference pairs, and re-ranking with a text."""
