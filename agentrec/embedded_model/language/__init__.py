"""What the embedded model reads and writes: aspects of items, words, tokens and prompts."""
