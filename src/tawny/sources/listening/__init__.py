"""Where events come from: listeners that store what they hear, and the host that keeps them running."""
