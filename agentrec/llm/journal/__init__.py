"""Every paid answer, on disk before use."""
