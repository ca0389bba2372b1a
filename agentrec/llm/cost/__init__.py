"""Budgets, prices, usage and estimates."""
