"""Evaluators in an environment of their own: what they are given, and how their results are read."""
