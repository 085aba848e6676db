"""Learner `llm`: a causal LM answers the task's prompt; its label probabilities are scored, never parsed from text.

Training is supervised fine-tuning of an adapter (or of all weights) on the target's tokens alone
(retune.llm.prompt.targets): reasoning where the model thinks, answer, reason, end of turn. What the rows of a batch
share is computed once (retune.llm.packing.packing). A curriculum trains in stages (retune.training.curriculum). With
`epochs: 0` nothing is fitted, and the base is scored as it is.

On dev, a model that answers at once is measured by its label probabilities. One that thinks is measured by `loss`, the
mean negative log-likelihood of the targets' tokens, weighted as in training.
"""
