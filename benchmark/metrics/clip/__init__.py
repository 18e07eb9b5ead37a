"""Similarity in the space of a CLIP model, by either of two packages."""
