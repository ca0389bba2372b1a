"""TODO: what language holds."""
