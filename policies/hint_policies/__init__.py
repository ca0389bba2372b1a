"""Hint policies other than PPO: untrained ones, linear bandits, value regression."""
