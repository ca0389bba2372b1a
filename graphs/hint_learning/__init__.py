"""The hint-learning graph: from an error of the model to a hint in the knowledge base."""
