"""Learner `api`: a model behind an OpenAI-compatible endpoint answers the task's prompt; nothing is trained.

A label's probability is that of its answer's first token, where the endpoint gives the likeliest ones (`top_logprobs`)
and they tell the answers apart; a label outside that list gets the list's least probability, which is the most that it
can have. Otherwise the answer's text is read (retune.data.written_answers) and its label gets probability 1. A row
whose answer names no label has null probabilities: it is counted, and counts as wrong.

With `api.protocol: decision` the endpoint is asked a typed question instead (`POST /systemone` of `transformers
serve`), and answers with a probability for each label.
"""
