"""Invented nurse-line triage calls: no real patients, no real notes, and a teaching rule instead of a protocol."""
