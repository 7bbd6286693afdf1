"""Batch inference: streams a file of calls, decides it part by part, and writes one Parquet file atomically."""
