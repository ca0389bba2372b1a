"""The network, its tokens and its forward pass."""
