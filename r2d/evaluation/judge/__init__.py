"""A language model as judge: it scores rationales by a rubric, over any OpenAI-compatible endpoint."""
