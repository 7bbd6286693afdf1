"""Asks a language model for rationales: a batch file to upload, or an endpoint asked at once; nothing is paid twice."""
