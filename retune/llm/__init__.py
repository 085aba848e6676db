"""Parts of causal language models: adapter, label scoring, generation."""
