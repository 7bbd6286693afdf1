"""Invented nurse-line triage calls: no real patients, no real notes, and a teaching rule instead of a protocol.

They give the pipeline a data set that can be shipped, whose labels follow from the text by a rule one can read
(`rule.decide`), and that keywords alone do not solve: the same finding is a warning in one complaint and harmless in
another, and is denied about as often as it is asserted.
"""

from r2d.synthetic.generate import generate_calls
from r2d.synthetic.rule import DISPOSITIONS

__all__ = ["DISPOSITIONS", "generate_calls"]
