"""A recommender that stays open."""
