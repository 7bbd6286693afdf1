"""Stage 2, joint training with task-level scheduled sampling: `L2 = alpha(t) L_label + (1 - alpha(t)) L_rationale`.

For each example on its own, the label in the rationale prompt is the model's own with probability pi(t), else gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from r2d.config import ModelConfig, Stage2Config
from r2d.data.labels import match_label
from r2d.modeling.decoding import decode_labels, encoded_inputs, generate_rationales
from r2d.modeling.labels import LabelSet
from r2d.modeling.prompts import PromptEncoder
from r2d.training.data import Batch, seq2seq_inputs
from r2d.training.sampling import uniform_draw
from r2d.training.schedules import Stage2Schedule
from r2d.training.trainer import StageTrainer, length_sorted_batches


class Stage2Trainer(StageTrainer):
    """Learns to decide, and to explain its own decision; selected by validation macro-F1 once sampling is under way."""

    stage_name = "stage 2"
    target_columns = ("label", "rationale")

    def __init__(
        self, *, config: Stage2Config, model_config: ModelConfig, prompts: PromptEncoder, labels: LabelSet, **rest: Any
    ) -> None:
        super().__init__(config=config, tokenizer=prompts.tokenizer, **rest)
        self.stage2 = config
        self.model_config = model_config
        self.prompts = prompts
        self.labels = labels
        self.schedule = Stage2Schedule.from_config(config)

    def batch_loss(self, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        step = self.state.global_step
        alpha, pi = self.schedule.alpha_at(step), self.schedule.pi_at(step)
        inputs = seq2seq_inputs(batch["label_prompt"], batch["label"], self.pad_id, self.args.device)
        outputs = model(**inputs)
        label_loss = outputs.loss * (batch.num_tokens("label") / num_tokens["label"])
        states = outputs.encoder_last_hidden_state.detach() if self.states_can_be_reused else None
        rationale_prompts = self._sampled_rationale_prompts(batch, pi, states, inputs["attention_mask"])
        rationale_loss = self.target_loss(model, rationale_prompts, batch["rationale"], num_tokens["rationale"])
        parts = self.args.gradient_accumulation_steps
        self.note(
            alpha=alpha, pi=pi, label_loss=label_loss.item() * parts, rationale_loss=rationale_loss.item() * parts
        )
        return alpha * label_loss + (1 - alpha) * rationale_loss

    def _sampled_rationale_prompts(
        self, batch: Batch, pi: float, states: Tensor | None, attention_mask: Tensor
    ) -> list[list[int]]:
        """Rationale prompts with gold labels, but for the drawn rows, whose prompt carries the model's own label.

        Only drawn rows are decoded (departure 3), in eval mode. States of the training pass would carry its dropout
        into the label (departures 2 and 10), so the encoder runs again, unless the model has no dropout.
        """
        step, seed = self.state.global_step, self.stage2.seed
        drawn = [row for row, id_ in enumerate(batch["id"]) if uniform_draw(seed, step, id_) < pi]
        prompts = batch["rationale_prompt"]
        texts, gold, label_prompts = batch["text"], batch["gold_label"], batch["label_prompt"]
        encoded = None if states is None else encoded_inputs(states[drawn], attention_mask[drawn])
        predicted = self.decode([label_prompts[row] for row in drawn], encoded)
        composed = self.prompts.rationale_prompts([texts[row] for row in drawn], predicted)
        for row, prompt in zip(drawn, composed, strict=True):
            prompts[row] = prompt
        self.note(predicted_label_fraction=len(drawn) / len(batch))
        if drawn:
            right = sum(predicted[k] == gold[row] for k, row in enumerate(drawn))
            self.note(decoded_label_accuracy=right / len(drawn))
        return prompts

    @property
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
        prompts = self.prompts.rationale_prompts(texts["text"], decoded)
        targets = [tokens["rationale"][row] for row in rows]
        label_loss = self.validation_loss(label_prompts, [tokens["label"][row] for row in rows])
        rationale_loss = self.validation_loss(prompts, targets)
        return {
            "loss": self.stage2.alpha * label_loss + (1 - self.stage2.alpha) * rationale_loss,
            "label_loss": label_loss,
            "rationale_loss": rationale_loss,
            "accuracy": float(accuracy_score(gold, known)),
            "macro_f1": float(f1_score(gold, known, labels=sorted(set(gold)), average="macro", zero_division=0.0)),
            "invalid_label_rate": matched.count(None) / len(matched),
        } | self._rationale_bleu(prompts)

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
