"""Bundled plugins: the morning brief, the document digest."""
