"""Exported LLMs on servers of others: vLLM, or `transformers serve`, asked with each model's own prompt.

`export` reads a folder, `vllm` and `transformers_serve` write the command line and read labels from the answers,
`process` starts the server and ends it, `endpoint` asks it.
"""
