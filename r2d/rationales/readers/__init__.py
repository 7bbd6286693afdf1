"""Readers of rationale sources: every record of a file, usable or not; nothing is dropped and nothing judged."""
