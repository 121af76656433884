"""What other schedulers keep, as our own documents, with a word on everything that is not the same here."""
