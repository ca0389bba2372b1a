"""Reading and changing a knowledge base."""
