"""Skills: SKILL.md folders that teach the agent."""
