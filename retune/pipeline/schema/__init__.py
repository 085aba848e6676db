"""The schemas of params.yaml, of the catalogs and of prompts: every key with its type, limit and meaning."""
