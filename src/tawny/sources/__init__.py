"""What the assistant reads: calendars, to-dos, mail, feeds, weather, contacts, documents.

`shelf.py` is the door: one method per noun, identical reads shared. Everything behind it (the network, the vendors'
libraries, the parsers) runs in child processes started by `workers.py`, because what is read is untrusted.
"""
