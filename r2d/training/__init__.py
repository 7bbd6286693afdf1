"""The two stages: schedules, sampling, selection, checkpoints, and the Hugging Face Trainer that runs them."""
