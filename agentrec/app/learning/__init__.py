"""The phases of a run: explore, reward, train, evaluate."""
