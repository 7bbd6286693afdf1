"""Holds the examples against the data contract; rows that must go are set aside with the reasons."""
