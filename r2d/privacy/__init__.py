"""Best-effort search for text that identifies a person, and its replacement; it does not replace de-identification."""
