"""`python -m retune.cli`."""

from retune.cli import app

if __name__ == "__main__":
    app()
