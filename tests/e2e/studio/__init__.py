"""A lab's own package, as the end-to-end tests use it: a text model that misbehaves on demand, and its metrics."""
