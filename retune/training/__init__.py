"""The training loop that all neural learners share, and the machine that it runs on."""
