"""The run folder and the components of a run."""
