"""Readers of files: `files` finds and opens them, `rows` streams their rows, `tables` reads a whole data source."""
