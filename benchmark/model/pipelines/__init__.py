"""Pipelines of the diffusers library: what is checked before loading, loading, and calling."""
