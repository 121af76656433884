"""All SQL, all state, the event log."""
