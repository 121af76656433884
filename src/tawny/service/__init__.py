"""The platform's service manager."""
