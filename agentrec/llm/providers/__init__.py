"""Opening chat models by name."""
