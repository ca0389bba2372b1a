"""Settings of a run: what can be set, where settings come from, and what is said of wrong ones."""
