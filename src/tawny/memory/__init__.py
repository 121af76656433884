"""Plain notes in the workspace, and their search."""
