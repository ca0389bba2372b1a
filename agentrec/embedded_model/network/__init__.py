"""The network: its initial weights and its forward pass."""
