"""Runs commands apart from everything that matters."""
