"""Requests to OpenAI-compatible endpoints: answers are kept, budgets hold, signals stop a run cleanly."""
