"""Calls by the million: read as a stream, decided part by part, and never half a file."""
