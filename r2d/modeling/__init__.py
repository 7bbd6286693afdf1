"""The encoder-decoder, its tokenizer, its prompts, and how it decides and explains."""
