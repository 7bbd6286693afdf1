"""Where rationales come from and which of them are trained on."""
