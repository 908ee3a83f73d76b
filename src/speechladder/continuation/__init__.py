"""The continuation task: models continue prompts, an ASR transcribes the results, and a text LM judges them."""
