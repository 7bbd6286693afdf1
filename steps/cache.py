"""Cache keys that see the code behind a step: ZenML hashes a step's own function only, and ours are thin.

A step says `@step(cache_policy=by_code(__name__))`. ZenML calls the function of the step's name here, without
arguments, and puts what it returns into the key.
"""

from __future__ import annotations

from zenml.config.cache_policy import CachePolicy

from mlops.code import step_code_hash


def by_code(module_name: str) -> CachePolicy:
    """The cache policy of the step in that module."""
    return CachePolicy(cache_func=f"{__name__}.{module_name.rsplit('.', 1)[-1]}")


def load_examples() -> str:
    return step_code_hash("load_examples")


def validate_examples() -> str:
    return step_code_hash("validate_examples", with_pages=True)


def ingest_rationales() -> str:
    return step_code_hash("ingest_rationales", with_pages=True)


def train_stage1() -> str:
    return step_code_hash("train_stage1")


def train_stage2() -> str:
    return step_code_hash("train_stage2")


def evaluate() -> str:
    return step_code_hash("evaluate", with_pages=True)


def measure_zero_shot() -> str:
    return step_code_hash("measure_zero_shot")


def compare() -> str:
    return step_code_hash("compare", with_pages=True)
