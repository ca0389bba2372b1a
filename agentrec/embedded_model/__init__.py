"""The small language model that is taught from a catalogue on the user's machine."""
