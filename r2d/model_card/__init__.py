"""The model card: what a person must know of a registered model before using it, generated from what was measured."""

from r2d.model_card.card import CardFacts, model_card

__all__ = ["CardFacts", "model_card"]
