"""Parts of BERT-like models: tokens, pooling, losses, the folder of sentence-transformers."""
