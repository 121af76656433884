"""Brings results to people."""
