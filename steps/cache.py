"""Cache keys that see the code behind a step: ZenML hashes a step's own function only, and ours are thin.

A step says `@step(cache_policy=by_code(__name__))`. ZenML calls the function of the step's name here, without
arguments, and puts what it returns into the key.
"""

from __future__ import annotations

from functools import partial

from zenml.config.cache_policy import CachePolicy

from mlops.code import step_code_hash


def by_code(module_name: str) -> CachePolicy:
    return CachePolicy(cache_func=f"{__name__}.{module_name.rsplit('.', 1)[-1]}")


load_examples = partial(step_code_hash, "load_examples")
validate_examples = partial(step_code_hash, "validate_examples", with_pages=True)
ingest_rationales = partial(step_code_hash, "ingest_rationales", with_pages=True)
train_stage1 = partial(step_code_hash, "train_stage1")
train_stage2 = partial(step_code_hash, "train_stage2")
evaluate = partial(step_code_hash, "evaluate", with_pages=True)
measure_validation = partial(step_code_hash, "measure_validation")
measure_zero_shot = partial(step_code_hash, "measure_zero_shot")
compare = partial(step_code_hash, "compare", with_pages=True)
