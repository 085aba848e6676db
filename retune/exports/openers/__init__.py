"""Scripts that answer rows with an exported folder, by its ecosystem's own loader and without the project.

`python -I SCRIPT.py FOLDER ROWS OUT`: ROWS is a JSON list of {column: text}; OUT gets {answers, tokens}: of each row
the calibrated probabilities of the labels, or its score; and the token ids, where there are any.
"""
