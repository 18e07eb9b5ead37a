"""Outputs that exist already: what lies there, and which file belongs to which case."""
