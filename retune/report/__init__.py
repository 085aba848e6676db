"""The report of a build: one self-contained HTML page and a Markdown summary for a pull request."""
