"""The vocabulary of the invented calls, as data: complaint families, findings, medical conditions and vital signs.

Invented for teaching. All families share one pool of findings, so that a finding alone says little: vomiting is a
warning after a head injury and none in a stomach bug. A family says which of its findings warn (`red_flags`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the caller has or does not have."""

    surfaces: tuple[str, ...]  # how notes write it; the first is also its plain name in rationales
    short: str  # how a hurried nurse writes it in a rationale
    grave: bool = False  # as a red flag it weighs more than others
    min_age_years: int = 0  # notes about younger children, who cannot report it, do not mention it


@dataclass(frozen=True, slots=True)
class Condition:
    """A lasting condition of the patient that raises the risk in certain complaints only."""

    present: tuple[str, ...]  # whole phrases of a note that assert it
    absent: tuple[str, ...]  # whole phrases of a note that deny it
    name: str  # noun phrase for rationales
    short: str
    min_age_years: int
    max_age_years: int = 120
    female_only: bool = False


@dataclass(frozen=True, slots=True)
class Vital:
    """One vital sign. Values are texts as in the note; of a blood pressure, the systolic part counts."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    phrase: str  # its wording in rationales; `{value}` is filled in
    limit: float
    high_is_abnormal: bool
    dangerous: bool = True  # whether an abnormal value alone calls for the emergency department

    def is_abnormal(self, value: str) -> bool:
        """Whether the value lies beyond the threshold."""
        number = float(value.split("/")[0])
        return number >= self.limit if self.high_is_abnormal else number < self.limit


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of complaint. `red_flags` and `benign` are disjoint names of `FINDINGS`."""

    names: tuple[str, ...]  # how notes write it; the first is also its name in rationales
    base: int  # urgency by itself, from 0 (self care) to 3; 4 is emergency now
    red_flags: tuple[str, ...]
    benign: tuple[str, ...]  # findings that are usual in the complaint and no sign of danger
    risks: tuple[str, ...]  # the conditions that raise the urgency in this family
    vitals: tuple[str, ...]  # vitals that can be abnormal here
    sudden_matters: bool = False  # whether a sudden onset raises the urgency
    can_be_long: bool = True  # whether a caller may have had it for weeks
    min_age_years: int = 2
    max_age_years: int = 120
    female_only: bool = False


FINDINGS: dict[str, Finding] = {
    "fever": Finding(("fever", "feeling hot"), "fever"),
    "chills": Finding(("chills", "shivering"), "chills"),
    "sweating": Finding(("sweating", "cold sweats"), "sweats"),
    "vomiting": Finding(("vomiting", "throwing up"), "vomiting"),
    "diarrhea": Finding(("diarrhea", "loose stools"), "diarrhea"),
    "belly pain": Finding(("belly pain", "abd pain"), "abd pain"),
    "back pain": Finding(("back pain", "flank pain"), "back pain", min_age_years=4),
    "bleeding": Finding(("bleeding", "blood loss"), "bleeding"),
    "low urine output": Finding(("low urine output", "passing little urine"), "low UO"),
    "poor drinking": Finding(("poor drinking", "poor fluid intake"), "poor PO"),
    "headache": Finding(("headache", "HA"), "HA", min_age_years=4),
    "dizziness": Finding(("dizziness", "lightheadedness"), "dizzy", min_age_years=4),
    "stiff neck": Finding(("stiff neck", "neck stiffness"), "stiff neck"),
    "light sensitivity": Finding(("light sensitivity", "photophobia"), "photophobia", min_age_years=4),
    "blurred vision": Finding(("blurred vision", "blurry vision"), "blurry vision", min_age_years=4),
    "numbness": Finding(("numbness", "tingling"), "numbness", min_age_years=4),
    "one-sided weakness": Finding(("one-sided weakness", "weakness on one side"), "unilat weakness", grave=True),
    "confusion": Finding(("confusion", "disorientation"), "confusion", grave=True, min_age_years=4),
    "fainting": Finding(("fainting", "passing out"), "syncope", grave=True),
    "drowsiness": Finding(("drowsiness", "sleepiness"), "drowsy"),
    "trouble walking": Finding(("trouble walking", "unsteady gait"), "unsteady", min_age_years=4),
    "chest pain": Finding(("chest pain", "CP"), "CP", min_age_years=4),
    "palpitations": Finding(("palpitations", "racing heart"), "palps", min_age_years=4),
    "shortness of breath": Finding(("shortness of breath", "SOB", "trouble breathing"), "SOB", grave=True),
    "cough": Finding(("cough", "coughing"), "cough"),
    "wheezing": Finding(("wheezing", "wheeze"), "wheeze"),
    "trouble swallowing": Finding(("trouble swallowing", "drooling"), "drooling"),
    "facial swelling": Finding(("facial swelling", "swollen face"), "facial swelling"),
    "rash": Finding(("rash", "hives"), "rash"),
    "spreading redness": Finding(("spreading redness", "red streaks"), "spreading redness"),
    "itching": Finding(("itching", "itchiness"), "itch"),
    "bruising": Finding(("bruising", "bruises"), "bruising"),
}

CONDITIONS: dict[str, Condition] = {
    "pregnancy": Condition(
        ("pregnant", "currently pregnant"), ("not pregnant",), "pregnancy", "preg", 16, 45, female_only=True
    ),
    "anticoagulant": Condition(
        ("on blood thinners", "takes warfarin"), ("not on blood thinners",), "use of blood thinners", "on thinners", 30
    ),
    "immunosuppressed": Condition(
        ("immunosuppressed", "on chemo"), ("not immunosuppressed",), "a weakened immune system", "immunosupp", 3
    ),
    "diabetes": Condition(("hx of diabetes", "hx DM"), ("no hx of diabetes",), "diabetes", "DM", 8),
    "heart disease": Condition(
        ("hx of heart disease", "hx of heart failure"), ("no hx of heart disease",), "heart disease", "cardiac hx", 35
    ),
    "kidney disease": Condition(
        ("hx of kidney disease", "hx CKD"), ("no hx of kidney disease",), "kidney disease", "CKD", 20
    ),
    "blood clot": Condition(
        ("hx of blood clot", "hx DVT"), ("no hx of blood clots",), "a past blood clot", "hx DVT", 20
    ),
    "lung disease": Condition(("hx COPD", "hx of asthma"), ("no hx of asthma",), "lung disease", "lung hx", 2),
    "prematurity": Condition(
        ("born premature", "premature birth"), ("born at term",), "premature birth", "preemie", 0, 1
    ),
}

FEVER_VALUES = ("38.2", "38.4", "38.6", "38.8", "39.0", "39.2")
"""Temperatures of callers who report a fever, below the threshold."""

VITALS: dict[str, Vital] = {
    "temp": Vital(
        ("36.4", "36.6", "36.8", "37.0", "37.2"),
        ("39.6", "39.8", "40.0", "40.2", "40.4"),
        "a temperature of {value}", 39.5, high_is_abnormal=True, dangerous=False,
    ),
    "HR": Vital(
        ("66", "72", "78", "84", "88", "90", "96", "102", "110", "118"),
        ("132", "134", "138", "142", "146", "150"),
        "a heart rate of {value}", 131, high_is_abnormal=True,
    ),
    "SpO2": Vital(
        ("94", "95", "96", "97", "98", "99"),
        ("84", "86", "87", "88", "89", "90"),
        "an oxygen saturation of {value}", 92, high_is_abnormal=False,
    ),
    "RR": Vital(
        ("14", "16", "18", "20", "22", "24"),
        ("32", "34", "36", "38", "40"),
        "a breathing rate of {value}", 31, high_is_abnormal=True,
    ),
    "BP": Vital(
        ("112/70", "118/76", "124/78", "128/80", "132/82", "138/84"),
        ("76/44", "78/46", "82/50", "84/52", "86/54"),
        "a blood pressure of {value}", 90, high_is_abnormal=False,
    ),
}  # fmt: skip
"""One threshold each, the same for all ages (a simplification): temperature of 39.5 C or more, heart rate over 130,
SpO2 under 92 %, over 30 breaths a minute, systolic pressure under 90 mmHg."""

LUNGS = ("SpO2", "RR", "HR", "temp")
HEART = ("HR", "BP", "SpO2")
INFECTION = ("temp", "HR", "BP")
FLUIDS = ("HR", "BP")


def _family(
    names: str, base: int, red_flags: str, benign: str, risks: str, vitals: tuple[str, ...], **limits: Any
) -> Family:
    """A family whose names are given as texts, divided by commas."""
    flags, harmless, raising = (tuple(text.split(", ")) for text in (red_flags, benign, risks))
    return Family(tuple(names.split(", ")), base, flags, harmless, raising, vitals, **limits)


FAMILIES: tuple[Family, ...] = (
    _family("chest discomfort, tight chest", 3, "sweating, shortness of breath, vomiting, fainting, numbness",
            "cough, itching, bruising, chills", "heart disease, diabetes, kidney disease", HEART,
            sudden_matters=True, min_age_years=30),
    _family("fast heartbeat, heart fluttering", 2, "chest pain, shortness of breath, fainting, one-sided weakness",
            "sweating, cough, itching, chills", "heart disease, pregnancy", HEART, min_age_years=16),
    _family("high BP reading, high home BP", 1, "chest pain, blurred vision, headache, confusion, one-sided weakness",
            "cough, palpitations, itching, bruising", "pregnancy, kidney disease, heart disease", ("HR", "SpO2"),
            min_age_years=20),
    _family("asthma flare, asthma attack", 3, "drowsiness, confusion, chest pain, fainting",
            "cough, wheezing, headache, itching", "pregnancy, heart disease, prematurity", LUNGS,
            sudden_matters=True, can_be_long=False),
    _family("cold symptoms, head cold", 0, "shortness of breath, chest pain, stiff neck, confusion",
            "cough, headache, chills, sweating, fever", "immunosuppressed, lung disease, prematurity", LUNGS,
            min_age_years=0),
    _family("bronchitis, chest cold", 1, "shortness of breath, chest pain, confusion, drowsiness",
            "cough, wheezing, chills, headache, sweating", "lung disease, immunosuppressed, heart disease", LUNGS,
            min_age_years=12),
    _family("croup, barky breathing", 2, "trouble swallowing, shortness of breath, drowsiness, poor drinking",
            "cough, fever, vomiting, wheezing", "prematurity, lung disease", LUNGS,
            can_be_long=False, min_age_years=0, max_age_years=6),
    _family("sore throat, throat pain", 0, "trouble swallowing, stiff neck, shortness of breath, facial swelling",
            "cough, headache, fever, belly pain, chills", "immunosuppressed, diabetes", INFECTION),
    _family("earache, ear pain", 0, "stiff neck, facial swelling, one-sided weakness, trouble walking",
            "fever, cough, headache, vomiting, itching", "immunosuppressed, diabetes", INFECTION, min_age_years=0),
    _family("toothache, tooth pain", 1, "facial swelling, fever, trouble swallowing, stiff neck",
            "headache, bleeding, chills, sweating", "immunosuppressed, diabetes, heart disease", INFECTION),
    _family("head pain, migraine attack", 1, "stiff neck, blurred vision, one-sided weakness, fever, confusion",
            "light sensitivity, dizziness, sweating, itching", "pregnancy, anticoagulant, immunosuppressed", INFECTION,
            sudden_matters=True, min_age_years=6),
    _family("head injury, bumped head", 2, "vomiting, drowsiness, confusion, blurred vision, numbness",
            "headache, bruising, cough, itching", "anticoagulant", FLUIDS, min_age_years=0),
    _family("dizzy spells, vertigo", 1, "one-sided weakness, chest pain, trouble walking, numbness, fainting",
            "vomiting, sweating, cough, palpitations", "heart disease, anticoagulant, diabetes", FLUIDS,
            sudden_matters=True, min_age_years=16),
    _family("red eye, sore eye", 0, "blurred vision, light sensitivity, vomiting, facial swelling",
            "itching, cough, dizziness, chills", "immunosuppressed, diabetes", ("temp",),
            sudden_matters=True, min_age_years=4),
    _family("low back strain, sore back", 0, "numbness, one-sided weakness, fever, low urine output, trouble walking",
            "headache, bruising, dizziness, sweating", "immunosuppressed, anticoagulant, pregnancy", INFECTION,
            min_age_years=16),
    _family("stomach cramps, stomach ache", 1, "bleeding, fainting, fever, back pain",
            "diarrhea, headache, sweating, itching", "pregnancy, immunosuppressed, heart disease", INFECTION,
            sudden_matters=True),
    _family("stomach bug, gastroenteritis", 0,
            "bleeding, low urine output, drowsiness, confusion, poor drinking",
            "vomiting, diarrhea, belly pain, chills, fever", "diabetes, kidney disease, prematurity, pregnancy",
            INFECTION, can_be_long=False, min_age_years=0),
    _family("constipation, hard stools", 0, "vomiting, bleeding, fever, low urine output",
            "chills, headache, itching, sweating", "kidney disease, prematurity", INFECTION, min_age_years=0),
    _family("burning urination, UTI symptoms", 1,
            "fever, back pain, vomiting, confusion",
            "belly pain, itching, headache, diarrhea", "pregnancy, diabetes, immunosuppressed, kidney disease",
            INFECTION, min_age_years=12),
    _family("morning sickness, pregnancy nausea", 0,
            "bleeding, blurred vision, low urine output, fainting, poor drinking",
            "vomiting, back pain, palpitations, itching", "diabetes, kidney disease, blood clot",
            FLUIDS, min_age_years=17, max_age_years=44, female_only=True),
    _family("heavy period, heavy menses", 1, "fainting, confusion, dizziness, fever",
            "belly pain, back pain, headache, diarrhea", "anticoagulant, kidney disease, heart disease", FLUIDS,
            min_age_years=13, max_age_years=54, female_only=True),
    _family("nosebleed, bloody nose", 0, "drowsiness, fainting, confusion, vomiting",
            "cough, headache, itching, sweating", "anticoagulant, kidney disease", FLUIDS),
    _family("hand cut, cut finger", 2, "numbness, spreading redness, fever, fainting",
            "chills, bruising, itching, cough", "anticoagulant, diabetes, immunosuppressed", INFECTION),
    _family("skin infection, infected wound", 2, "spreading redness, fever, confusion, vomiting, numbness",
            "itching, chills, bruising, headache", "diabetes, immunosuppressed, kidney disease", INFECTION),
    _family("eczema flare, dry itchy skin", 0, "fever, spreading redness, facial swelling, drowsiness",
            "rash, bleeding, cough, itching", "immunosuppressed, diabetes", ("temp", "HR"), min_age_years=0),
    _family("insect sting, bee sting", 1, "shortness of breath, facial swelling, vomiting, wheezing",
            "itching, sweating, bruising, headache", "heart disease, lung disease", ("SpO2", "HR", "BP"),
            sudden_matters=True, can_be_long=False),
    _family("drug side effect, reaction to new med", 1,
            "shortness of breath, facial swelling, rash, fainting, wheezing",
            "diarrhea, headache, itching, dizziness, vomiting", "kidney disease, pregnancy, heart disease",
            ("SpO2", "HR", "BP"), sudden_matters=True),
    _family("ankle sprain, twisted ankle", 0, "numbness, trouble walking, spreading redness, fever",
            "bruising, dizziness, itching, headache", "anticoagulant, diabetes", ("HR",), min_age_years=4),
    _family("swollen leg, leg swelling", 2, "shortness of breath, chest pain, spreading redness, fainting",
            "bruising, itching, back pain, sweating", "blood clot, pregnancy, heart disease", HEART,
            sudden_matters=True, min_age_years=18),
    _family("unwell baby, fussy baby", 3, "rash, drowsiness, low urine output, poor drinking, stiff neck",
            "cough, diarrhea, fever, sweating", "prematurity", LUNGS,
            can_be_long=False, min_age_years=0, max_age_years=2),
    _family("high blood sugar, sugar over 300", 3, "vomiting, belly pain, drowsiness, confusion, shortness of breath",
            "sweating, headache, itching, dizziness", "kidney disease, pregnancy, heart disease", FLUIDS,
            min_age_years=10),
    _family("panic attack, anxiety attack", 0, "chest pain, fainting, confusion, vomiting",
            "palpitations, sweating, dizziness, shortness of breath", "heart disease, pregnancy, blood clot", HEART,
            min_age_years=14),
)  # fmt: skip
