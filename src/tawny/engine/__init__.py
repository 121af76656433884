"""Moves tasks along: claims, runs, waits, retries, recovers."""
