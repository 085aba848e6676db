"""The mean of what the trainings of one model with several seeds answer: nothing is trained, so there is no `fit`."""
