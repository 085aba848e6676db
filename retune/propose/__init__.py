"""A task from a user's file: what its columns mean, the YAML that says so, and rows as the models would see them."""
