"""Training, comparing and explaining hint policies of a run."""
