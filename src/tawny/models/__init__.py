"""Language models: providers, the built-in demo model, failover."""
