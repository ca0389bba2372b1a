"""The one way to a language model: journaled, limited, retried, counted."""
