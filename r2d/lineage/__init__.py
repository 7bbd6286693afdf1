"""Where registered versions come from, which versions saw a row, and what changed between two versions."""
