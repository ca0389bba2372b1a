"""An async agent framework that makes any LLM recommend better from its own mistakes."""
