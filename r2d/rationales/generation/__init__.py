"""Asks a language model for rationales: a batch file to upload, or an endpoint asked at once; nothing is paid twice."""

from r2d.rationales.generation.answers import write_current_answers
from r2d.rationales.generation.generate import ask_all, generate
from r2d.rationales.generation.progress import GenerationSummary, OnProgress
from r2d.rationales.generation.prompt import Prompt, load_prompt
from r2d.rationales.generation.requests import write_batch_input

__all__ = [
    "GenerationSummary", "OnProgress", "Prompt", "ask_all", "generate", "load_prompt", "write_batch_input",
    "write_current_answers",
]  # fmt: skip
