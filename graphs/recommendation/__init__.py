"""The recommendation graph: choose a hint, ask the model, ground its answer."""
