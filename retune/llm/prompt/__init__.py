"""What an LLM is shown and asked, and what it is to answer, as text and as token ids."""
