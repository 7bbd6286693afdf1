"""Invented nurse-line triage calls: no real patients, no real notes, and a teaching rule instead of a protocol.

They give the pipeline a data set that can be shipped. Its labels follow from the text by a readable rule
(`facts.decide`), and keywords alone do not predict them: the same finding is a warning in one complaint and harmless in
another, and is denied about as often as it is asserted.
"""
