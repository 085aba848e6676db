"""Training rows whose label is probably wrong: found, ranked, handed to a person; nothing is changed or dropped."""
