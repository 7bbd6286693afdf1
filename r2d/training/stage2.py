"""Stage 2, joint training: the engine that every method of `r2d.training.methods` runs on, and its validation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from r2d.config import ModelConfig, Stage2Config
from r2d.data.labels import match_label
from r2d.modeling.decoding import decode_labels, generate_rationales
from r2d.modeling.labels import LabelSet
from r2d.modeling.prompts import PromptEncoder
from r2d.training.checkpoints import MethodState
from r2d.training.data import Batch
from r2d.training.methods import Method
from r2d.training.trainer import StageTrainer, length_sorted_batches


class Stage2Trainer(StageTrainer):
    """Learns to decide, and to explain as its method says; selected by validation macro-F1."""

    stage_name = "stage 2"

    def __init__(
        self,
        *,
        config: Stage2Config,
        method: Method,
        model_config: ModelConfig,
        prompts: PromptEncoder,
        labels: LabelSet,
        **rest: Any,
    ) -> None:
        self.target_columns = method.target_columns
        super().__init__(config=config, tokenizer=prompts.tokenizer, **rest)
        self.add_callback(MethodState(method))
        self.stage2 = config
        self.method = method
        self.model_config = model_config
        self.prompts = prompts
        self.labels = labels

    def batch_loss(self, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        return self.method.loss(self, model, batch, num_tokens)

    def note_losses(self, *, label_loss: Tensor, **figures: float | Tensor) -> None:
        """Keep the figures of a micro-batch, losses (tensors) as those of the whole step."""
        parts = self.args.gradient_accumulation_steps
        losses = {"label_loss": label_loss} | {n: f for n, f in figures.items() if isinstance(f, Tensor)}
        self.note(**{name: loss.item() * parts for name, loss in losses.items()})
        self.note(**{name: figure for name, figure in figures.items() if not isinstance(figure, Tensor)})

    @cached_property
    def states_can_be_reused(self) -> bool:
        """Whether the encoder gives in training what it gives in eval mode: nothing in it is dropped."""
        rates = self.model.config.to_dict().items()
        return not any(rate for name, rate in rates if "dropout" in name and isinstance(rate, int | float))

    def decode(self, label_prompts: Sequence[Sequence[int]], encoded: dict[str, Any] | None = None) -> list[str]:
        """`y_hat` by the current weights, as `model.label_decoding` says; `encoded` as in `decode_labels`."""
        return decode_labels(
            self.accelerator.unwrap_model(self.model),
            self.prompts.tokenizer,
            self.labels,
            label_prompts,
            decoding=self.model_config.label_decoding,
            max_label_tokens=self.model_config.max_label_tokens,
            encoded=encoded,
        )

    def validate(self) -> dict[str, float]:
        """Both tasks (departure 5): labels by decoding, rationales conditioned on the PREDICTED label."""
        from sklearn.metrics import accuracy_score, f1_score

        rows, texts, tokens = range(len(self.validation)), self.validation.texts, self.validation.tokens
        label_prompts = [tokens["label_prompt"][row] for row in rows]
        decoded = [""] * len(label_prompts)
        for some in length_sorted_batches(label_prompts, self.micro_batch_size * 2):
            for row, label in zip(some, self.decode([label_prompts[i] for i in some]), strict=True):
                decoded[row] = label
        matched = [match_label(label, self.labels.names) for label in decoded]
        gold = list(texts["gold_label"])
        known = ["" if label is None else label for label in matched]
        label_loss = self.validation_loss(label_prompts, [tokens["label"][row] for row in rows])
        figures = {
            "loss": label_loss,
            "label_loss": label_loss,
            "accuracy": float(accuracy_score(gold, known)),
            "macro_f1": float(f1_score(gold, known, labels=sorted(set(gold)), average="macro", zero_division=0.0)),
            "invalid_label_rate": matched.count(None) / len(matched),
        }
        if not self.method.config.explains:
            return figures
        prompts = self.prompts.rationale_prompts(texts["text"], decoded)
        rationale_loss = self.validation_loss(prompts, [tokens["rationale"][row] for row in rows])
        weight = self.method.label_weight
        figures |= {"loss": weight * label_loss + (1 - weight) * rationale_loss, "rationale_loss": rationale_loss}
        return figures | self._rationale_bleu(prompts)

    def _rationale_bleu(self, prompts: Sequence[Sequence[int]]) -> dict[str, float]:
        """sacreBLEU of generated rationales over the first `validation_rationales` rows that have a gold one."""
        import sacrebleu

        targets = self.validation.texts["gold_rationale"]
        chosen = [row for row, text in enumerate(targets) if text][: self.stage2.validation_rationales]
        if not chosen:
            return {}
        generated: dict[int, str] = {}
        for some in length_sorted_batches([prompts[row] for row in chosen], self.micro_batch_size * 2):
            rows = [chosen[index] for index in some]
            texts = generate_rationales(
                self.model,
                self.prompts.tokenizer,
                [prompts[row] for row in rows],
                max_rationale_tokens=self.model_config.max_rationale_tokens,
            )
            generated |= dict(zip(rows, texts, strict=True))
        score = sacrebleu.corpus_bleu([generated[row] for row in chosen], [[targets[row] for row in chosen]])
        return {"rationale_bleu": float(score.score)}
