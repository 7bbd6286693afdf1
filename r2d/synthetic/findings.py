"""The shared pool of findings and of medical conditions, as data: what nurses write for each of them.

One pool for all complaints, so that a finding alone says little: vomiting is a warning after a head injury and none in
a stomach bug. Which finding warns where is said in `families`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the caller has or has not."""

    surfaces: tuple[str, ...]
    """How notes write it; the first is also its plain name in rationales."""
    short: str
    """How a hurried nurse writes it in a rationale."""
    grave: bool = False
    """Where it is a red flag at all, it weighs more than the others."""
    min_age_years: int = 0
    """Younger children cannot tell of it, and notes do not mention it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A lasting condition of the patient that raises the risk in certain complaints only."""

    present: tuple[str, ...]
    """Whole phrases of a note that assert it."""
    absent: tuple[str, ...]
    """Whole phrases of a note that deny it."""
    name: str
    """Noun phrase for rationales."""
    short: str
    min_age_years: int
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
