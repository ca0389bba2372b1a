"""Language models: prompts, parsing, the call journal, and the embedded model."""
