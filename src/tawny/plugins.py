"""Finds and registers plugins, bundled and installed."""
