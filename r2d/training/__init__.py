"""The two stages: schedules, sampling, collation, selection, checkpoints, and the Hugging Face Trainer that runs them."""
