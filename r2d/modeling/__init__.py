"""The language model, its tokenizer, its prompts, and how it decides and explains."""
