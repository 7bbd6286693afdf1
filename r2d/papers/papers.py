"""Fills the papers that are handed in with a version: checklists, model card, hazard log and technical file.

A paper is data: a YAML beside this module. Each of its items has sentences with facts in braces (`{under_triage}`), a
question that only people can answer (`you`), or both. A sentence without a fact is refused, so no paper claims what
leads to no record. Nothing here reads a note or a rationale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET  # nosec B405 # written, never parsed

from pydantic import model_validator

from r2d.config.section import Section
from r2d.errors import ConfigError
from r2d.files import file_sha256, read_yaml, write_json, write_text
from r2d.papers.facts import Fact, Record, facts_of
from r2d.reports.templates import render

PAPERS = ("tripod_ai", "tripod_llm", "hazard_log", "annex_iv", "chai_model_card")
"""Names of the papers: of the YAML, of the page, and in the file of answers."""
CARD = "chai_model_card"
CARD_NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
ANSWERS_FILE = "answers.yaml"
FACT = re.compile(r"\{(\w+)\}")
YOU = "YOU MUST ANSWER"
DIGITS = 4
"""Of a result in the model card."""


class Item(Section):
    """One point that a paper asks."""

    id: str
    """As the list numbers it; in the model card the path of its element."""
    asks: str
    """What it asks, in our own short words."""
    proposed: str = ""
    """Text that comes from no run, for people to confirm."""
    says: tuple[str, ...] = ()
    """Sentences about this run, each with a fact in braces."""
    you: str = ""
    """What only people can answer; empty where the run answers all of it."""

    @model_validator(mode="after")
    def _is_answered_by_somebody(self) -> Item:
        if without := [sentence for sentence in self.says if not FACT.search(sentence)]:
            raise ValueError(f"item {self.id}: a sentence names no fact: {without[0]}")
        if not (self.says or self.proposed or self.you):
            raise ValueError(f"item {self.id}: neither the run nor people answer it")
        return self


class Part(Section):
    title: str
    items: tuple[Item, ...]


class Paper(Section):
    """A checklist, card, log or file."""

    title: str
    about: str
    source: str
    """Where its list of items comes from."""
    parts: tuple[Part, ...]

    @property
    def items(self) -> list[Item]:
        return [item for part in self.parts for item in part.items]


@dataclass(frozen=True)
class Sentence:
    text: str
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Answered:
    """An item with what the run and people say to it."""

    item: Item
    sentences: Sequence[Sentence]
    answer: str
    """What people wrote; empty where they have not."""

    @property
    def is_open(self) -> bool:
        return bool(self.item.you) and not self.answer


@dataclass(frozen=True)
class FilledPaper:
    name: str
    paper: Paper
    answered: Mapping[str, Answered]
    """Id of an item -> it."""

    @property
    def open(self) -> list[Item]:
        return [each.item for each in self.answered.values() if each.is_open]

    @property
    def num_with_facts(self) -> int:
        """Items to which the run says something."""
        return sum(bool(each.sentences) for each in self.answered.values())

    @property
    def facts(self) -> list[Fact]:
        """Those that its sentences rest on, in the order of their first use."""
        used = [fact for each in self.answered.values() for sentence in each.sentences for fact in sentence.facts]
        return list({fact.name: fact for fact in used}.values())


def read_paper(name: str) -> Paper:
    """One of `PAPERS` as it is declared."""
    return Paper.model_validate(read_yaml(Path(__file__).with_name(f"{name}.yaml")))


def fill(name: str, facts: Mapping[str, Fact], answers: Mapping[str, str]) -> FilledPaper:
    """The paper with the facts of a version.

    Args:
        answers: id of an item -> what people answered.

    Raises:
        KeyError: a sentence names a fact that is not declared.
    """
    paper = read_paper(name)
    answered = {
        item.id: Answered(item, [_sentence(text, facts) for text in item.says], answers.get(item.id, ""))
        for item in paper.items
    }
    return FilledPaper(name, paper, answered)


def _sentence(text: str, facts: Mapping[str, Fact]) -> Sentence:
    """The text with its facts. Where one was not measured, the sentence says so and nothing else."""
    used = [facts[name] for name in dict.fromkeys(FACT.findall(text))]
    if missing := [fact.caption for fact in used if fact.text is None]:
        return Sentence(f"Not known of this run: {'; '.join(missing)}.", [fact for fact in used if fact.text is None])
    return Sentence(FACT.sub(lambda found: str(facts[found[1]].text), text), used)


def write_papers(folder: Path, records: Mapping[str, Record]) -> list[FilledPaper]:
    """Write every paper as a page, the model card as XML too, the facts as JSON, and the questions for people.

    Answers that people wrote into `answers.yaml` of the folder are taken; the file is written where there is none, and
    never over.

    Args:
        records: as of `facts_of`.

    Raises:
        ConfigError: `answers.yaml` cannot be read, or answers what nobody asked.
    """
    facts, answers_file = facts_of(records), folder / ANSWERS_FILE
    answers = _read_answers(answers_file) if answers_file.exists() else {}
    filled = [fill(name, facts, answers.get(name, {})) for name in PAPERS]
    folder.mkdir(parents=True, exist_ok=True)
    if not answers_file.exists():
        write_text(answers_file, render("r2d.papers", "answers.yaml.j2", papers=filled))
    answered_in = Record(ANSWERS_FILE, f"sha256 {file_sha256(answers_file)}", None)
    invented = facts["data_format"].value == "synthetic_triage"
    for paper in filled:
        page = render(
            "r2d.papers", "paper.html.j2", title=paper.paper.title, paper=paper, invented=invented,
            records=[*{fact.record.name: fact.record for fact in paper.facts}.values(), answered_in],
        )  # fmt: skip
        write_text(folder / f"{paper.name}.html", page)
        if paper.name == CARD:
            write_text(folder / f"{paper.name}.xml", card_xml(paper, facts["confidence"].value))
    write_json(folder / "facts.json", {name: _as_json(fact) for name, fact in facts.items()})
    return filled


def _read_answers(file: Path) -> dict[str, dict[str, str]]:
    content = read_yaml(file)
    asked = {name: {item.id for item in read_paper(name).items if item.you} for name in PAPERS}
    if not isinstance(content, dict) or not all(isinstance(answers, dict) for answers in content.values()):
        raise ConfigError(
            f"{file}: expected a mapping from paper ({', '.join(PAPERS)}) to item and answer; remove the file, and the "
            "command writes it anew with every question"
        )
    given = {name: {str(item): answer for item, answer in answers.items()} for name, answers in content.items()}
    unknown = [
        f"{name}: {item}" for name, answers in given.items() for item in answers if item not in asked.get(name, ())
    ]
    if unknown:
        raise ConfigError(f"{file}: nobody asks {', '.join(unknown[:5])}; remove it, or keep the answer elsewhere")
    for name, answers in given.items():
        if wrong := [item for item, answer in answers.items() if not isinstance(answer, str | None)]:
            raise ConfigError(f"{file}: {name}: {', '.join(wrong[:5])}: an answer is a text in quotation marks")
    return {name: {item: (answer or "").strip() for item, answer in answers.items()} for name, answers in given.items()}


def _as_json(fact: Fact) -> dict[str, object]:
    return {
        "caption": fact.caption, "text": fact.text, "value": fact.value, "record": fact.record.name,
        "path": fact.path, "id": fact.record.id,
    }  # fmt: skip


def card_xml(card: FilledPaper, confidence: float | None) -> str:
    """The model card as the Coalition for Health AI's schema v0.2 has it.

    Args:
        confidence: of the intervals; None where there are none.
    """
    ET.register_namespace("", CARD_NAMESPACE)
    root = ET.Element(f"{{{CARD_NAMESPACE}}}AppliedModelCard")
    for path, each in card.answered.items():
        parent, element = root, root
        for step in path.split("/"):
            parent, child = element, element.find(f"{{{CARD_NAMESPACE}}}{step}")
            element = ET.SubElement(parent, f"{{{CARD_NAMESPACE}}}{step}") if child is None else child
        facts = [fact for sentence in each.sentences for fact in sentence.facts]
        if path.endswith("/Results"):
            for fact in facts:
                result = ET.SubElement(element, f"{{{CARD_NAMESPACE}}}MetricResult")
                ET.SubElement(result, f"{{{CARD_NAMESPACE}}}Label").text = fact.caption
                ET.SubElement(result, f"{{{CARD_NAMESPACE}}}ValueJson").text = json.dumps(_card_value(fact, confidence))
        else:
            asked = f"{YOU}: {each.item.you}" if each.is_open else each.answer
            texts = (each.item.proposed, " ".join(sentence.text for sentence in each.sentences), asked)
            element.text = "\n\n".join(filter(None, texts))
        if facts:  # beside the element, so that its text is not touched
            parent.append(ET.Comment(_rests_on(facts)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _rests_on(facts: Sequence[Fact]) -> str:
    """Records with the key paths of these facts, as a comment may hold them."""
    records = {fact.record.name: fact.record for fact in facts}
    paths = {name: dict.fromkeys(fact.path for fact in facts if fact.record.name == name) for name in records}
    places = [f"{name} ({record.id}): {', '.join(paths[name])}" for name, record in records.items()]
    return f" rests on {'; '.join(places)} ".replace("--", "- -")


def _card_value(fact: Fact, confidence: float | None) -> dict[str, object]:
    """A result as the published cards of this version write it."""
    factor, unit = (100.0, "%") if fact.unit == "share" else (1.0, "")
    if confidence is not None and isinstance(fact.value, Mapping) and fact.value.get("low") is not None:
        low, value, high = (round(factor * fact.value[end], DIGITS) for end in ("low", "value", "high"))
        level = 100.0 * confidence
        return {"kind": "estimate_ci", "estimate": value, "lower": low, "upper": high, "level": level, "unit": unit}
    value = fact.value.get("value") if isinstance(fact.value, Mapping) else fact.value
    return {"kind": "single", "value": None if value is None else round(factor * value, DIGITS), "unit": unit}
