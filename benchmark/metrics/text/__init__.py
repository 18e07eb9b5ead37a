"""Texts: right or wrong, by what was said or by what was likely."""
