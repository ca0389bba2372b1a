"""Settings, their sources and their checks."""
