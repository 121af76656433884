"""What a turn can do; one door in: call.py."""
