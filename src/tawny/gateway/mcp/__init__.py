"""MCP: our tasks, automations and approvals for other people's agents."""
