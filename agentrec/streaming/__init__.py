"""Many things at a time, in bounded numbers."""
