"""What the assistant reads: calendars, to-dos, mail, feeds, weather, contacts."""
