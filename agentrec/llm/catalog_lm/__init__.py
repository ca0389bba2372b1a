"""The embedded model: a small causal language model taught from a catalogue.

It is a rule-distilled stand-in for development, tests and demos, not a language model to judge
recommendation by: what it knows is what a written rule over the catalogue told it.
"""
