"""Sessions, turns, subagents."""
