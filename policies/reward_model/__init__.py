"""Reward models of preference texts: a recommender whose ranking a text changes."""
