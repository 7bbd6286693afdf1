"""A language model as judge: it scores rationales by a rubric, over any OpenAI-compatible endpoint."""

from r2d.evaluation.judge.judge import Judgement, judge_rationales, not_judged
from r2d.evaluation.judge.rows import JudgedRow, rows_of
from r2d.evaluation.judge.rubric import Criterion, Rubric, load_rubric

__all__ = ["Criterion", "JudgedRow", "Judgement", "Rubric", "judge_rationales", "load_rubric", "not_judged", "rows_of"]
