"""Tawny: an always-on personal assistant whose heart is durable background work."""

__version__ = "0.1.0"
