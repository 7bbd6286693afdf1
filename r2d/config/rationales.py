"""Section `rationales`: the sources of rationales, how each is read, parsed and judged, and which are trained on."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from r2d.config.endpoint import EndpointConfig
from r2d.config.files import TextFileConfig
from r2d.config.section import Fraction, Name, Section

Paths = Annotated[tuple[Name, ...], Field(min_length=1)]

_NOUN = (
    r"(?:answer|label|decision|verdict|prediction|choice|option|category|classification|disposition"
    r"|(?:triage|urgency|acuity|ESI|CTAS|ATS|MTS)(?:\s(?:level|category|decision|class))?)"
)
_OTHER_NOUN = (
    r"(?:(?:ESI|CTAS|ATS|MTS|triage|urgency|acuity|priority|severity|risk|diagnosis|clinical|care)"
    r"(?:[\s-](?:level|category|class|score|code|rating|recommendation|assessment|classification|outcome|result))?"
    r"|level(?:\sof\scare)?|class|final|judge?ment|opinion|recommendation|conclusion|assessment|result|outcome|output|response|rating"
    r"|antwort|entscheidung|einstufung|einschätzung|kategorie|dringlichkeit|(?:triage-?)?stufe|klassifi(?:kation|zierung)|empfehlung"
    r"|ergebnis|réponse|décision|catégorie|niveau|recommandation|résultat|respuesta|decisión|categoría|nivel"
    r"|clasificación|etiqueta|recomendación|resultado|resposta|decisão|categoria|nível|classificação|rótulo|recomendação"
    r"|risposta|decisione|livello|classificazione|etichetta|raccomandazione|risultato|antwoord|beslissing|besluit"
    r"|categorie|classificatie|aanbeveling|advies)(?:\sd[ei]\stri[ae]\w+)?"
)
"""Nouns under which other things stand too: what follows counts only where it is an option and nothing else."""
_DETERMINER = (
    r"(?:(?:the|my|our|short|brief|direct|final|correct|best|right|overall|predicted|recommended|corrected|revised|updated|new|selected"
    r"|chosen|assigned|suggested|proposed|resulting|appropriate|most\s(?:likely|appropriate)|meine|ma|mi|minha|mijn)\s{1,5})"
)
ANSWER_HEADING = rf"{_DETERMINER}{{0,3}}(?:{_NOUN}|{_OTHER_NOUN})"
"""Under which an answer stands: `Final answer`, `ESI level`."""
_LABEL = r"(?P<label>[^\n]{1,400})"
_ALONE = r"(?P<alone>[^\n]{1,400})"
_IS = r"[*_ \t]{0,6}(?:[:=：]|\]\s?:?|\s[-–—]\s|\s?(?:[-=]>|[→⇒➜])\s?)[*_\s]{0,12}"
_MARKS = r"(?:[^\w\n({\[<\\>≤≥≠=~±¬!|+-]|_){0,12}"
_NEXT_LINE = r"[*_ \t]{0,6}\n\s{0,10}"
_ASKED = (
    r"\b(?:question|problem|riddle|call(?:er)?|case|patient|note|message|text|situation|scenario|sentence|above|end"
    r"|following)\b"
)
_CASE = r"(?:this|the|her|his)\s(?:call(?:er)?|case|patient|note|message|text|situation|presentation|visit)\s"
_CLASS = r"(?:classif|triag|rat|categori[sz]|label|cod|grad|assign)"
_AS = r"(?:as|to)(?:\sthe)?(?:\s(?:an?|category|level|label|class|ESI(?:\slevel)?)){0,2}\s{0,3}:?\s{0,3}"

ANSWER_PATTERNS = (
    # **Final answer:** yes, at the start of a line or a sentence; Recommendation: yes; ESI level 3
    rf"(?:^(?:[^\w\n{{\"]|_){{0,12}}(?:(?:\d{{1,2}}[.)]|step\s\d{{1,2}}\s?[.):–-])\s{{1,3}})?|(?<=[.!?]\s))[*_]{{0,3}}{_DETERMINER}{{0,3}}"
    rf"(?:{_NOUN}(?:\s(?:assigned|selected|chosen|recommended)|\s?\([^()\n:]{{1,40}}[/|][^()\n:]{{1,80}}\))?{_IS}{_LABEL}|(?:{_OTHER_NOUN}{_IS}|(?:{_NOUN}|{_OTHER_NOUN})\s(?=\d)|(?:option|choice)\s(?=[a-h]\b))(?:ESI[\s-])?{_ALONE})",
    # ## Answer, and the label on the next line
    rf"^(?=[^\n]{{1,60}}\n)(?:(?:\#{{1,6}}|\*\*|__)[ \t]{{0,3}}{_DETERMINER}{{0,3}}{_NOUN}{_NEXT_LINE}{_LABEL}"
    rf"|(?:\#{{1,6}}|\*\*|__)?[ \t]{{0,3}}{_DETERMINER}{{0,3}}(?:{_NOUN}|{_OTHER_NOUN}){_NEXT_LINE}{_ALONE})",
    r"\\boxed\{(?:\\text\{)?(?P<label>[^{}\n]{1,400})\}",
    r"<(?:(?:final_)?(?:answer|label|decision)>\s{0,10}(?P<label>[^<\n]{1,400})"
    r"|(?:triage|category|level|class|urgency|verdict|prediction|classification|disposition|output|result|response)>"
    r"\s{0,10}(?P<alone>[^<\n]{1,400}))",
    # So the answer is (c) wooded area.
    rf"\b(?=[tmofcbrpun])(?<!\bif\s)(?<!\bwhether\s){_DETERMINER}{{1,3}}{_NOUN}(?:\s(?:to|for|in|of)\s(?:this|the|that)\s[^\n.:?!]{{0,40}}?{_ASKED})?"
    rf"\s{{1,5}}(?:is|was|(?:would|has\sto)\s(?:then\s|now\s)?be)\s{{0,3}}[:,]?\s{{0,5}}{_LABEL}",
    # **Emergency**, at the beginning, before a reason
    rf"\A{_MARKS}{_ALONE}",
    # #### emergency, or a last line that is the label
    r"(?:(?:(?<=[.!)\"”’])[ \t]{0,9}\n|^(?:[-*•]|\d{1,2}[.)])\s[^\n]{1,400}\n[ \t]{0,9}\n)\s{0,12}"
    r"(?:[-*_=]{3,9}\n\s{0,12})?"
    r"|\s\#{3,6}\s?|(?<=[.!])\s(?=(?:therefore|thus|hence)\b))(?![-*•+]\s|\d{1,2}[.)]\s)(?:[-=]>)?"
    rf"{_MARKS}(?:(?:therefore|thus|hence|so)[,:]?\s)?(?P<alone>[^\n]{{1,160}})\s{{0,20}}\Z",
    # I would triage this call as emergency. I choose emergency. This case is classified as emergency.
    rf"\b(?=[iwth])(?:(?:I|we)(?:['’](?:d|ll|ve|m)|\s(?:would|will|have|must|can|am|now|hereby|therefore|thus)){{0,3}}\s"
    rf"(?:{_CLASS}\w{{0,4}}\s(?:{_CASE}|this\s|it\s){_AS}|(?:choose|select|pick|recommend|go\swith|opt\sfor|assign|suggest"
    rf"|say(?:\s(?:this|it)\sis)?|choosing|selecting|going\swith|decide\s(?:on|for))(?:\sthe)?(?:\s{_NOUN})?\s?:?\s)"
    rf"|(?:{_CASE}|(?:this|it)\s)(?:(?:is|should\sbe|must\sbe|has\sto\sbe|can\sbe)\s(?:best\s|therefore\s|thus\s)?"
    rf"{_CLASS}\w{{0,2}}ed\s{_AS}|(?:falls\s(?:under|into)|belongs\s(?:to|in)|qualifies\sas)\s(?:the\s)?(?:{_NOUN}\s)?)"
    rf"|the\s(?:\w{{1,12}}\s)?{_NOUN}\s(?:should|must)\sbe\s:?\s?"
    r"|(?:^|(?<=[.!?]\s))"  # within a sentence it is a reason: `fever warns, so the right level is urgent. So ...`
    rf"the\s(?:most\s)?(?:appropriate|right|correct|best|proper|suitable|recommended|final)\s(?:level(?:\sof\scare)?|class|{_NOUN})"
    r"(?:\shere)?\s(?:is|should\sbe|must\sbe)\s:?\s?)"
    rf"{_ALONE}",
    # Daher lautet die Antwort: Notfall.
    r"(?=[*_dasflphqu])(?:^|(?<=[.!]\s))[*_]{0,3}(?:(?:daher|also|somit|deshalb|folglich|donc|ainsi|por(?:\slo)?\stanto|portanto|logo|quindi|pertanto|dus|daarom),?\s)?"
    r"(?:(?:lautet|ist)\sdie\s(?:richtige\s)?(?:antwort|entscheidung)"
    r"|die\s(?:richtige\s|endgültige\s)?(?:antwort|entscheidung|einstufung|kategorie)\s(?:lautet|ist)(?:\s(?:daher|also|somit))?"
    r"|la\s(?:réponse|décision|catégorie)(?:\sfinale|\scorrecte)?\sest(?:\sdonc)?|la\s(?:respuesta|decisión|categoría)"
    r"(?:\sfinal|\scorrecta)?\ses|a\s(?:resposta|decisão|categoria)(?:\sfinal|\scorreta)?\sé|la\s(?:risposta|decisione"
    rf"|categoria)(?:\sfinale|\scorretta)?\sè|(?:het\santwoord|de\sbeslissing|de\scategorie)\sis)\s{{0,3}}:?\s{{0,3}}{_ALONE}",
)
"""Styles in which models commonly state their answer. What `label` matches begins with an option, or is refused; what
`alone` matches is an option, or counts not. Case does not count, and `^` is the start of a line. Every repeat is
bounded, so that a text of any length takes linear time. The fifth begins with the first letters of the words that it
goes on with: so most places are passed over at once."""

RUN_ON_PATTERNS = (
    r"\n\s{0,20}(?:Q|Question|Input|Example|User|Human)\s{0,3}\d{0,4}\s{0,3}[:.]\s",
    r"\n\s{0,20}(?:Note|Text|Context|Call|Case|Patient|Passage)\s{1,3}\d{1,4}\s{0,3}[:.]\s",
    r"\n[ \t]{0,20}\n\s{0,20}(?:Note|Text|Context|Call|Passage):\s",
    r"\n\s{0,20}\#{2,4}\s{0,3}(?:Instruction|Input|Question|User|Human|Example|Note|Context|Text|Call)\b",
)
"""Where a model that was not stopped begins an invented next question. An answer behind it never counts. The marks of
chats (`r2d/rationales/marks.yaml`) are looked for besides."""


class ParseConfig(Section):
    """How the answer and the rationale are found in the text of an LLM."""

    structure: Literal["text", "json"] = "text"
    """`json`: the answer is a JSON object, perhaps within a code fence or other text."""
    answer_patterns: Paths = ANSWER_PATTERNS
    """Regular expressions with a group `label`, or `alone` for one that counts only where it is an option and nothing
    else. The last match counts that is neither conditional, nor reported, nor taken back. The rationale is a group
    `rationale`, else what stands before the match, else what follows it. A list replaces the shipped ones; `{extend:
    [...]}` is tried beside them."""
    run_on_patterns: tuple[Name, ...] = RUN_ON_PATTERNS
    """Regular expressions: from the first match on, behind the answer, the text is cut. `{extend: [...]}` as above."""
    reasoning_tags: tuple[Name, ...] = ()
    """Names of tags whose content is removed, with its end tag or without, beside the marks that are shipped
    (`r2d/rationales/marks.yaml`: `<think>`, `[THINK]`, channels and others)."""
    reasoning_marks: tuple[tuple[Name, Name], ...] = ()
    """Further marks of reasoning, each as its start and its end: `["[PONDER]", "[/PONDER]"]`."""
    json_label_key: Name = "label"
    """Key of the label in the JSON object, where `structure` is `json` or a text is one whole object."""
    json_rationale_key: Name = "rationale"
    """Key of the rationale there."""
    require_label: bool = True
    """Whether an output that states no label is rejected; `false` where the model was asked for the rationale alone."""

    @field_validator("answer_patterns", "run_on_patterns", mode="before")
    @classmethod
    def _extended(cls, value: Any, info: ValidationInfo) -> Any:
        """The patterns of `{extend: [...]}` before the shipped ones."""
        if not isinstance(value, dict):
            return value
        further = value.get("extend")
        if set(value) != {"extend"} or not isinstance(further, list | tuple):
            raise ValueError("found a mapping; allowed: a list, which replaces the shipped ones, or {extend: [...]}")
        return (*further, *(ANSWER_PATTERNS if info.field_name == "answer_patterns" else RUN_ON_PATTERNS))

    @model_validator(mode="after")
    def _patterns_compile(self) -> ParseConfig:
        for key in ("answer_patterns", "run_on_patterns"):
            for pattern in getattr(self, key):
                try:
                    compiled = re.compile(pattern)
                except re.error as error:
                    raise ValueError(f"{key}: {pattern!r} is no regular expression: {error}") from None
                if key == "answer_patterns" and not {"label", "alone"} & set(compiled.groupindex):
                    raise ValueError(f"{key}: {pattern!r} needs a group named label or alone: (?P<label>...)")
        return self


def parse_as_config(value: Any) -> Any:
    """`parse: true` as the defaults, `parse: false` as none."""
    return {} if value is True else None if value is False else value


QualityAction = Literal["keep", "flag", "drop"]


class QualityConfig(Section):
    """What happens to a rationale that fails a check. `flag` keeps it and writes the fault into its provenance."""

    disagrees_with_gold: QualityAction = "flag"
    """The source's own label is another than the gold one."""
    refusal: QualityAction = "drop"
    """It refuses to answer, or is an error message or a placeholder: the wording of `r2d/rationales/phrases.yaml`."""
    loops: QualityAction = "drop"
    """A sentence, or a run of words, stands in it again and again."""
    markup: QualityAction = "flag"
    """It holds RTF, HTML, entities, a data URI or base64."""
    leaks_label: Literal["keep", "flag", "mask", "drop"] = "flag"
    """The gold label stands verbatim in the rationale; `mask` writes `[LABEL]` in its place."""
    too_short: QualityAction = "drop"
    """It has fewer characters than `min_characters`."""
    min_characters: Annotated[int, Field(ge=1)] = 10
    """Fewest characters of a rationale."""
    too_long: QualityAction = "flag"
    """It has more characters than `max_characters`."""
    max_characters: Annotated[int, Field(ge=1)] = 4_000
    """Most characters of a rationale."""
    copies_text: QualityAction = "flag"
    """It repeats the text: see `max_copied_share`."""
    max_copied_share: Fraction = 0.9
    """Share of the rationale's word triples that stand in the text, above which it is a copy."""
    repeated: QualityAction = "flag"
    """It stands word for word with more texts than `max_repeats`."""
    max_repeats: Annotated[int, Field(ge=1)] = 3
    """Different texts that may share a rationale word for word."""
    ungrounded: QualityAction = "flag"
    """It names a number or a finding that stands nowhere in the text."""
    contradicts_text: QualityAction = "keep"
    """It claims a finding that the text denies, or denies one that the text reports; counted and warned of. Read by
    rules (`r2d.rationales.claims`), which err: look at some before you drop them."""
    findings_file: Name | None = None
    """YAML list of findings, each a list of its synonyms; by default the shipped one, of symptoms and signs."""
    negation_file: Name | None = None
    """YAML of phrases that deny a finding or leave it open; by default the shipped one, English."""


class SourceConfig(Section):
    """What all sources of rationales share."""

    quality: QualityConfig = QualityConfig()
    several: Literal["first", "last", "longest"] = "first"
    """Which rationale is taken where one example has several that pass every check."""


class FileSource(SourceConfig):
    """What all sources share that are read from files."""

    paths: Paths
    """Files; a glob is filled in, in natural order (`_2` before `_10`)."""
    id_pattern: Name | None = None
    """Regular expression with one group: the example's id within that of the file (`request-(.+)`). It is searched, not
    matched whole; where it is not found the record has no id."""
    id_width: Annotated[int, Field(ge=1, le=100)] | None = None
    """Digits that ids have in the data: shorter ids of digits alone get the zeros that a spreadsheet took away."""

    @field_validator("id_pattern")
    @classmethod
    def _has_one_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                num_groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"{value!r} is no regular expression: {error}") from None
            if num_groups != 1:
                raise ValueError(
                    f"{value!r} has {num_groups} groups; allowed: one, which is the example's id: case-(.+)"
                )
        return value


Only = dict[Name, Name | Annotated[tuple[Name, ...], Field(min_length=1)]]


class ColumnSource(SourceConfig):
    """Rationales that stand in the data: the key of the source is the one in `data.columns.rationales`."""

    format: Literal["column"]
    parse: ParseConfig | None = None
    """How raw answers of an LLM are parsed that stand in the column; `true`: as those of a file. Else the cells are
    rationales as they are."""

    _as_config = field_validator("parse", mode="before")(parse_as_config)


class TextSource(FileSource):
    """Raw LLM output in files: a JSON list, or JSON Lines, of texts or of objects.

    `messages` and `sharegpt` are conversations, of which the last turn of the model counts; `vllm_offline` what vLLM's
    `LLM.generate` returned, with its `outputs`.
    """

    format: Literal["text", "messages", "sharegpt", "vllm_offline"]
    join: Literal["id", "order"] = "id"
    """`order`: the n-th output belongs to the n-th example; refused where an output has an id, or the counts differ."""
    id_field: Name = "id"
    """Field of the example's id; `meta.case[0].id` for one within others."""
    text_field: Name = "text"
    """Field of the text, of format `text` alone; `response.choices[0].text` for one within others."""
    label_field: Name | None = None
    """Field of a label that stands beside the text, of format `text` alone: the text is then a rationale as it is."""
    only: Only = {}
    """Field -> the value, or values, that a record must have to count, e.g. `{status: final}`; case does not matter.
    Others are rejected as cancelled."""
    encoding: Name = "utf-8"
    """Of the files, such as `utf-8` or `latin-1`."""
    parse: ParseConfig | None = ParseConfig()
    """How the texts are parsed."""

    @model_validator(mode="before")
    @classmethod
    def _written_beside_a_label(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("label_field") is None:
            return values
        if values.get("parse") is not None:
            raise ValueError("label_field has no effect with parse, which reads the label in the answer; remove one")
        return values | {"parse": None}


class BatchSource(FileSource):
    """Output of a batch as it is downloaded. The shape of each line says whose it is: OpenAI, Azure, Mistral or vLLM
    (`response`), Anthropic (`result`), Gemini (`response.candidates`), Bedrock (`modelOutput`)."""

    format: Literal["openai_batch", "azure_batch", "vllm_batch", "anthropic_batch", "gemini_batch", "bedrock_batch"]
    id_field: Name | None = None
    """Field of the example's id; by default `custom_id`, `key` or `recordId`. `request.contents[0].parts[0].text` with
    an `id_pattern` for Vertex, which gives back the prompt and no id."""
    error_paths: tuple[Name, ...] = ()
    """Error files of the batch; their requests are counted as rejected."""
    input_paths: tuple[Name, ...] = ()
    """Input files of the batch; with them the prompt hash of each rationale is recorded."""
    parse: ParseConfig = ParseConfig()


class SyntheticBatchSource(SourceConfig):
    """The shipped generator's raw batch output, with the faults that real ones have; only for its own calls."""

    format: Literal["synthetic_triage_batch"]
    parse: ParseConfig = ParseConfig()


class LabelStudioSource(FileSource):
    """A JSON export of Label Studio."""

    format: Literal["label_studio"]
    id_field: Name = "id"
    """In `data` of a task; a task's own number is not an example's id."""
    label_field: Name | None = None
    """`from_name` of the choices; by default `label`, which must be there only if annotations have choices."""
    rationale_field: Name = "rationale"
    """`from_name` of the text area."""


class ArgillaSource(FileSource):
    """An export of Argilla: JSON records, or flat JSON Lines."""

    format: Literal["argilla"]
    id_field: Name = "id"
    """Field or metadata with the example's id."""
    label_field: Name | None = None
    """Question that was answered with the label; by default `label`, which must be there only if people chose."""
    rationale_field: Name = "rationale"
    """Question that was answered with the rationale."""


class CsvSource(TextFileConfig, FileSource):
    """A table of written rationales, one a row, as nurses or editors deliver them; or of raw answers of an LLM."""

    format: Literal["csv"]
    example_column: Name = "example_id"
    """Column with the id of the example that the rationale belongs to."""
    text_column: Name | None = None
    """Column with the text that the rationale was written for. A row whose text is not that of its example is rejected
    (`another_text`), since its id means another one."""
    rationale_column: Name = "rationale"
    """Column with the rationale."""
    id_column: Name | None = None
    """Each rationale's own id, to which an edit can point."""
    edits_column: Name | None = None
    """Id of the rationale, of this source or another, that this row is the edited form of; may be empty."""
    label_column: Name | None = None
    """Column with the label that the author gave."""
    author_column: Name | None = None
    """Column with the author; kept in the provenance."""
    time_column: Name | None = None
    """Column with the time of writing; kept in the provenance."""
    parse: ParseConfig | None = None
    """How raw answers of an LLM are parsed that stand in `rationale_column`; `true`: as those of a file."""
    only: Only = {}
    """Column -> the value, or values, that a row must have to count, e.g. `{status: final}`; case does not matter.
    Others are rejected as cancelled."""

    _as_config = field_validator("parse", mode="before")(parse_as_config)

    @model_validator(mode="after")
    def _one_label(self) -> CsvSource:
        if self.parse is not None and self.label_column is not None:
            raise ValueError("label_column has no effect with parse, which reads the label in the answer; remove one")
        return self


class EndpointSource(EndpointConfig, SourceConfig):
    """Rationales asked of an OpenAI-compatible endpoint; every answer is kept, and none is asked for twice."""

    format: Literal["endpoint"]
    prompt: Name
    """YAML file with `system` and `user`, Jinja templates over `text`, `label`, `labels` and `examples`."""
    splits: Annotated[tuple[Literal["train", "validation", "test"], ...], Field(min_length=1)] = (
        "train", "validation", "test",
    )  # fmt: skip
    """Splits whose rows are asked about."""
    few_shot: Annotated[int, Field(ge=0)] = 0
    """Solved examples in each prompt, always of the training split and never the asked one; drawn with `seed`."""
    few_shot_source: Name | None = None
    """Rationale source, among those that the data brings, of the solved examples."""
    parse: ParseConfig = ParseConfig()

    @model_validator(mode="after")
    def _few_shot_has_a_source(self) -> EndpointSource:
        if self.few_shot and self.few_shot_source is None:
            raise ValueError("few_shot needs few_shot_source: the solved examples show a rationale of that source")
        return self


AnySource = Annotated[
    ColumnSource | TextSource | BatchSource | SyntheticBatchSource | LabelStudioSource | ArgillaSource | CsvSource
    | EndpointSource,
    Field(discriminator="format"),
]  # fmt: skip

Selection = Name | Annotated[tuple[Name, ...], Field(min_length=1)] | Annotated[dict[Name, float], Field(min_length=1)]


class RationalesConfig(Section):
    """Where rationales come from, and which are trained on."""

    stage1_source: Selection | None = None
    """Of Stage 1 (the paper: LLM-generated only); only a method that writes no rationale can do without. A source; a
    list: the first of them that the example has; or a mapping of sources to weights: drawn for each example among those
    that it has."""
    stage2_source: Selection | None = None
    """Of Stage 2 and of evaluation; by default that of Stage 1."""
    sources: dict[Name, AnySource] = {}
    """Name -> where it comes from, how it is parsed and what is done with what fails a check. Sources that the data
    brings (`data.columns.rationales`) need not be declared; they are then read as they are, and a short one is flagged
    and not dropped."""
    seed: int = 42
    """Of the mixture's draws."""

    @model_validator(mode="after")
    def _weights(self) -> RationalesConfig:
        for key in ("stage1_source", "stage2_source"):
            selection = getattr(self, key)
            if isinstance(selection, dict) and (min(selection.values()) < 0 or not sum(selection.values())):
                raise ValueError(f"{key}: weights are not below 0 and not all 0; found {selection}")
        return self

    def selected(self) -> tuple[str, ...]:
        """Every source that a stage trains on, in the order of declaration."""
        return tuple(dict.fromkeys([*names_of(self.stage1_source), *names_of(self.stage2_source)]))


def names_of(selection: str | tuple[str, ...] | dict[str, float] | None) -> tuple[str, ...]:
    """The sources that a selection names; none without one."""
    if selection is None:
        return ()
    return (selection,) if isinstance(selection, str) else tuple(selection)
