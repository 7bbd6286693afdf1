"""The complaint families, as data: how urgent each is by itself, and what makes it more urgent.

Invented for teaching. Urgency counts upwards from 0 (self care) to 4 (emergency now); a family starts at 0 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of complaint. `red_flags` and `benign` are disjoint parts of the pool in `findings`."""

    names: tuple[str, ...]
    """How notes write it; the first is also its name in rationales."""
    base: int
    """Urgency without anything else."""
    red_flags: tuple[str, ...]
    benign: tuple[str, ...]
    """Findings that go with the complaint and say nothing about danger."""
    risks: tuple[str, ...]
    """Conditions that raise the urgency in this family; all others do not."""
    vitals: tuple[str, ...]
    """Vitals that may plausibly be dangerous here."""
    sudden_matters: bool = False
    can_be_long: bool = True
    """Whether a caller may have had it for weeks."""
    min_age_years: int = 2
    max_age_years: int = 120
    female_only: bool = False


LUNGS = ("SpO2", "RR", "HR", "temp")
HEART = ("HR", "BP", "SpO2")
INFECTION = ("temp", "HR", "BP")
FLUIDS = ("HR", "BP")

FAMILIES: tuple[Family, ...] = (
    Family(("chest discomfort", "tight chest"), 3,
           ("sweating", "shortness of breath", "vomiting", "fainting", "numbness"),
           ("cough", "itching", "bruising", "chills"),
           ("heart disease", "diabetes", "kidney disease"), HEART, sudden_matters=True, min_age_years=30),
    Family(("fast heartbeat", "heart fluttering"), 2,
           ("chest pain", "shortness of breath", "fainting", "one-sided weakness"),
           ("sweating", "cough", "itching", "chills"),
           ("heart disease", "pregnancy"), HEART, min_age_years=16),
    Family(("high BP reading", "high home BP"), 1,
           ("chest pain", "blurred vision", "headache", "confusion", "one-sided weakness"),
           ("cough", "palpitations", "itching", "bruising"),
           ("pregnancy", "kidney disease", "heart disease"), ("HR", "SpO2"), min_age_years=20),
    Family(("asthma flare", "asthma attack"), 3,
           ("drowsiness", "confusion", "chest pain", "fainting"),
           ("cough", "wheezing", "headache", "itching"),
           ("pregnancy", "heart disease", "prematurity"), LUNGS, sudden_matters=True, can_be_long=False),
    Family(("cold symptoms", "head cold"), 0,
           ("shortness of breath", "chest pain", "stiff neck", "confusion"),
           ("cough", "headache", "chills", "sweating", "fever"),
           ("immunosuppressed", "lung disease", "prematurity"), LUNGS, min_age_years=0),
    Family(("bronchitis", "chest cold"), 1,
           ("shortness of breath", "chest pain", "confusion", "drowsiness"),
           ("cough", "wheezing", "chills", "headache", "sweating"),
           ("lung disease", "immunosuppressed", "heart disease"), LUNGS, min_age_years=12),
    Family(("croup", "barky breathing"), 2,
           ("trouble swallowing", "shortness of breath", "drowsiness", "poor drinking"),
           ("cough", "fever", "vomiting", "wheezing"),
           ("prematurity", "lung disease"), LUNGS, can_be_long=False, min_age_years=0, max_age_years=6),
    Family(("sore throat", "throat pain"), 0,
           ("trouble swallowing", "stiff neck", "shortness of breath", "facial swelling"),
           ("cough", "headache", "fever", "belly pain", "chills"),
           ("immunosuppressed", "diabetes"), INFECTION),
    Family(("earache", "ear pain"), 0,
           ("stiff neck", "facial swelling", "one-sided weakness", "trouble walking"),
           ("fever", "cough", "headache", "vomiting", "itching"),
           ("immunosuppressed", "diabetes"), INFECTION, min_age_years=0),
    Family(("toothache", "tooth pain"), 1,
           ("facial swelling", "fever", "trouble swallowing", "stiff neck"),
           ("headache", "bleeding", "chills", "sweating"),
           ("immunosuppressed", "diabetes", "heart disease"), INFECTION),
    Family(("head pain", "migraine attack"), 1,
           ("stiff neck", "blurred vision", "one-sided weakness", "fever", "confusion"),
           ("light sensitivity", "dizziness", "sweating", "itching"),
           ("pregnancy", "anticoagulant", "immunosuppressed"), INFECTION, sudden_matters=True, min_age_years=6),
    Family(("head injury", "bumped head"), 2,
           ("vomiting", "drowsiness", "confusion", "blurred vision", "numbness"),
           ("headache", "bruising", "cough", "itching"),
           ("anticoagulant",), FLUIDS, min_age_years=0),
    Family(("dizzy spells", "vertigo"), 1,
           ("one-sided weakness", "chest pain", "trouble walking", "numbness", "fainting"),
           ("vomiting", "sweating", "cough", "palpitations"),
           ("heart disease", "anticoagulant", "diabetes"), FLUIDS, sudden_matters=True, min_age_years=16),
    Family(("red eye", "sore eye"), 0,
           ("blurred vision", "light sensitivity", "vomiting", "facial swelling"),
           ("itching", "cough", "dizziness", "chills"),
           ("immunosuppressed", "diabetes"), ("temp",), sudden_matters=True, min_age_years=4),
    Family(("low back strain", "sore back"), 0,
           ("numbness", "one-sided weakness", "fever", "low urine output", "trouble walking"),
           ("headache", "bruising", "dizziness", "sweating"),
           ("immunosuppressed", "anticoagulant", "pregnancy"), INFECTION, min_age_years=16),
    Family(("stomach cramps", "stomach ache"), 1,
           ("bleeding", "fainting", "fever", "back pain"),
           ("diarrhea", "headache", "sweating", "itching"),
           ("pregnancy", "immunosuppressed", "heart disease"), INFECTION, sudden_matters=True),
    Family(("stomach bug", "gastroenteritis"), 0,
           ("bleeding", "low urine output", "drowsiness", "confusion", "poor drinking"),
           ("vomiting", "diarrhea", "belly pain", "chills", "fever"),
           ("diabetes", "kidney disease", "prematurity", "pregnancy"), INFECTION, can_be_long=False, min_age_years=0),
    Family(("constipation", "hard stools"), 0,
           ("vomiting", "bleeding", "fever", "low urine output"),
           ("chills", "headache", "itching", "sweating"),
           ("kidney disease", "prematurity"), INFECTION, min_age_years=0),
    Family(("burning urination", "UTI symptoms"), 1,
           ("fever", "back pain", "vomiting", "confusion"),
           ("belly pain", "itching", "headache", "diarrhea"),
           ("pregnancy", "diabetes", "immunosuppressed", "kidney disease"), INFECTION, min_age_years=12),
    Family(("morning sickness", "pregnancy nausea"), 0,
           ("bleeding", "blurred vision", "low urine output", "fainting", "poor drinking"),
           ("vomiting", "back pain", "palpitations", "itching"),
           ("diabetes", "kidney disease", "blood clot"), FLUIDS,
           min_age_years=17, max_age_years=44, female_only=True),
    Family(("heavy period", "heavy menses"), 1,
           ("fainting", "confusion", "dizziness", "fever"),
           ("belly pain", "back pain", "headache", "diarrhea"),
           ("anticoagulant", "kidney disease", "heart disease"), FLUIDS,
           min_age_years=13, max_age_years=54, female_only=True),
    Family(("nosebleed", "bloody nose"), 0,
           ("drowsiness", "fainting", "confusion", "vomiting"),
           ("cough", "headache", "itching", "sweating"),
           ("anticoagulant", "kidney disease"), FLUIDS),
    Family(("hand cut", "cut finger"), 2,
           ("numbness", "spreading redness", "fever", "fainting"),
           ("chills", "bruising", "itching", "cough"),
           ("anticoagulant", "diabetes", "immunosuppressed"), INFECTION),
    Family(("skin infection", "infected wound"), 2,
           ("spreading redness", "fever", "confusion", "vomiting", "numbness"),
           ("itching", "chills", "bruising", "headache"),
           ("diabetes", "immunosuppressed", "kidney disease"), INFECTION),
    Family(("eczema flare", "dry itchy skin"), 0,
           ("fever", "spreading redness", "facial swelling", "drowsiness"),
           ("rash", "bleeding", "cough", "itching"),
           ("immunosuppressed", "diabetes"), ("temp", "HR"), min_age_years=0),
    Family(("insect sting", "bee sting"), 1,
           ("shortness of breath", "facial swelling", "vomiting", "wheezing"),
           ("itching", "sweating", "bruising", "headache"),
           ("heart disease", "lung disease"), ("SpO2", "HR", "BP"), sudden_matters=True, can_be_long=False),
    Family(("drug side effect", "reaction to new med"), 1,
           ("shortness of breath", "facial swelling", "rash", "fainting", "wheezing"),
           ("diarrhea", "headache", "itching", "dizziness", "vomiting"),
           ("kidney disease", "pregnancy", "heart disease"), ("SpO2", "HR", "BP"), sudden_matters=True),
    Family(("ankle sprain", "twisted ankle"), 0,
           ("numbness", "trouble walking", "spreading redness", "fever"),
           ("bruising", "dizziness", "itching", "headache"),
           ("anticoagulant", "diabetes"), ("HR",), min_age_years=4),
    Family(("swollen leg", "leg swelling"), 2,
           ("shortness of breath", "chest pain", "spreading redness", "fainting"),
           ("bruising", "itching", "back pain", "sweating"),
           ("blood clot", "pregnancy", "heart disease"), HEART, sudden_matters=True, min_age_years=18),
    Family(("unwell baby", "fussy baby"), 3,
           ("rash", "drowsiness", "low urine output", "poor drinking", "stiff neck"),
           ("cough", "diarrhea", "fever", "sweating"),
           ("prematurity",), LUNGS, can_be_long=False, min_age_years=0, max_age_years=2),
    Family(("high blood sugar", "sugar over 300"), 3,
           ("vomiting", "belly pain", "drowsiness", "confusion", "shortness of breath"),
           ("sweating", "headache", "itching", "dizziness"),
           ("kidney disease", "pregnancy", "heart disease"), FLUIDS, min_age_years=10),
    Family(("panic attack", "anxiety attack"), 0,
           ("chest pain", "fainting", "confusion", "vomiting"),
           ("palpitations", "sweating", "dizziness", "shortness of breath"),
           ("heart disease", "pregnancy", "blood clot"), HEART, min_age_years=14),
)  # fmt: skip
