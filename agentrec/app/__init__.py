"""The only place that puts everything together."""
