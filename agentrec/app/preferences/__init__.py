"""Preference texts, reward models and tuning in a run folder."""
