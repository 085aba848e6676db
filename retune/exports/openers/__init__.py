"""Scripts that answer rows with an exported folder, by its ecosystem's own loader and without the project.

`python -I SCRIPT FOLDER ROWS.json OUT.json`: ROWS is a JSON list of {column: text}; OUT gets {answers, tokens}: of each
row the calibrated probabilities of the labels, or its score; and the token ids, where there are any. Each export has
its own as answer.py.
"""
