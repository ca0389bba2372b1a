"""Where preference pairs go: memory, or a file with one pair a line."""
