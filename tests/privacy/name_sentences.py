"""Sentences of notes with and without names, made by rules that were written before and apart from the recogniser's.

Two sets that share no context, no name and no negative: `tune` to work on, `report` to measure on. A context holds
`{full}` (forename and surname), `{sur}` or `{fore}`; what is put there is the name to be found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

PER_CONTEXT = 12


class Sentence(NamedTuple):
    """A text, and where its name stands; None where it has none."""

    text: str
    name: tuple[int, int] | None
    context: str


@dataclass(frozen=True)
class Rules:
    """What the sentences of a set are made of."""

    forenames: tuple[str, ...]
    surnames: tuple[str, ...]
    contexts: tuple[str, ...]
    """A mark stands beside the name: the docs say that such a name is found."""
    unmarked: tuple[str, ...]
    """Nothing but its capitals marks the name."""
    negatives: tuple[str, ...]
    """Capitalised words that are no names: drugs, eponyms, months, places, beginnings of sentences."""


TUNE = Rules(
    forenames=(
        "Amelia", "Jun", "Fatou", "Lars", "Priya", "Mateo", "Noor", "Wiremu", "Agnieszka", "Tunde",
    ),
    surnames=(
        "Hargreaves", "Tanaka", "Diallo", "Lindqvist", "Chaudhary", "Herrera", "Haddad", "Ngata", "Nowak", "Bakare",
    ),
    contexts=(
        "Patient {full} has chest pain since noon.", "Pt {full} denies fever.", "pt. {full} called about a rash.",
        "The patient, {full}, is short of breath.", "Caller {full} reports vomiting.", "Client {full} wants advice.",
        "Seen with Mrs. {sur} at home.", "Mr {full} fell.", "Dr. {sur} was paged.", "Her son {fore} drives her in.",
        "Husband {full} is present.", "Spoke to nurse {sur} on the ward.", "Nurse {full} took the call.",
        "Name: {full}", "Patient name: {full}, no allergies.", "Advised by RN {sur}.", "My name is {full}.",
        "Resident {full} found on the floor.", "Mother {full} calls for the baby.", "Baby {fore} is feeding poorly.",
        "GP {sur} asked for a review.", "Cardiologist {sur} agrees.", "Under the care of {full}.",
        "Report given to {full}.", "Discussed with {full}, daughter.", "Handover from {full} at seven.",
        "PATIENT {full} STATES PAIN.", "Follow up with {sur}, MD.", "Contact: {full}", "Emergency contact {full}.",
    ),
    unmarked=(
        "{full} is a retired miner.", "Today {fore} feels better.", "{sur} refuses the ambulance.",
    ),
    negatives=(
        "Patient Reports chest pain.", "Patient Denies fever and Chills.", "Pt Took Tylenol and Motrin.",
        "Patient on Lisinopril since March.", "Foley catheter in place.", "History of Parkinson disease.",
        "Patient has Crohn disease and Graves disease.", "Caller Worried about sepsis.",
        "Patient Advised to come in.", "Nurse Triage Line answered.", "Doctor On Call was informed.",
        "Mother Concerned about a rash.", "Patient from Boston, visiting in June.", "Positive Murphy sign.",
        "Patient Care Plan reviewed.", "Pt Alert and Oriented.", "Client Services were told.", "Son Has a cold too.",
        "Emergency Department full.", "Given to Pharmacy for review.", "Patient ECG normal.", "Pt COPD, HTN.",
        "Patient Education given.", "Discussed with Poison Control.", "Seen by Home Health today.",
        "Referred to Urgent Care.", "Mrs is not in.", "Caller Hung up.", "Resident Physician on duty.",
        "Contact Dermatitis on the arm.", "Baby Aspirin daily.",
    ),
)  # fmt: skip

REPORT = Rules(
    forenames=(
        "Eleanor", "Xiuying", "Kwame", "Sven", "Lakshmi", "Guadalupe", "Yusuf", "Aroha", "Zbigniew", "Siobhan",
        "Thabo", "Ngoc",
    ),
    surnames=(
        "Whitcombe", "Zhang", "Asante", "Bergstrom", "Venkataraman", "Villanueva", "Al-Farsi", "Parata", "Kowalczyk",
        "O'Sullivan", "Dlamini", "Tran",
    ),
    contexts=(
        "Patient {full} complains of a headache.", "patient {full} rang at six.", "Pt: {full}, 67 years.",
        "Pt {sur} is afebrile.", "Patient {sur} slept well.", "This patient ({full}) is known to us.",
        "Caller, {full}, worried about a cough.", "Caller is {full}.", "Ms. {full} states she is dizzy.",
        "Miss {sur} has hives.", "Dr {full} will ring back.", "Doctor {sur} prescribed it.", "Prof. {sur} operates.",
        "His wife {fore} found him.", "Daughter {full} will bring her.", "Brother {fore} has flu as well.",
        "Assessed by nurse {full}.", "Midwife {sur} attended.", "Paramedic {full} on scene.", "Full name {full}.",
        "Name of patient: {full}", "I am {full} and my back hurts.", "Written by {full}, RN.",
        "Child {fore} swallowed a coin.", "Infant {full} with fever.", "Father of {full} calls.",
        "Surgeon {sur} reviewed the wound.", "Pharmacist {full} checked the dose.", "Dear Dr {sur},",
        "Signed: {full}", "Reviewed with {full} by phone.", "Care discussed with {full}.", "Guardian: {full}",
        "Next of kin {full}.", "Client named {full} fell.", "PT {full} DENIES PAIN.", "Spoke with {full} at noon.",
    ),
    unmarked=(
        "{full} lives alone.", "{fore} feels dizzy today.", "Yesterday {full} fainted.", "{sur} wants to go home.",
    ),
    negatives=(
        "Patient Presents with cough.", "Patient Feels weak.", "Pt Complains of Nausea.",
        "Patient Took Advil at ten.", "Caller Asks about Metformin.", "Patient with Alzheimer disease.",
        "Pt on Warfarin and Eliquis.", "Hodgkin lymphoma in remission.", "Patient uses Ventolin.",
        "Bell palsy on the left.", "Tested for Lyme disease.", "Travelled to Nairobi in April.",
        "Patient Safety form filled.", "Doctor Visits twice a week.", "Nurse Practitioner will see her.",
        "Nurse Advice Line.", "Mother Reports fever.", "Father Unsure of the dose.", "Son Vomited twice.",
        "Discussed with Infection Control.", "Seen by Social Work.", "Spoke with Central Pharmacy.",
        "Signed Consent Form is missing.", "Patient Denied Chest Pain.", "Pt Is Resting.", "Babinski sign negative.",
        "Child Protection informed.", "Infant Formula changed.", "Patient SOB, CP.", "Client Declined transport.",
        "Surgeon On Call paged.", "Caller States Pain Ten of Ten.", "Dr told her to wait.", "Brother Also ill.",
        "Patient Portal message sent.", "Contact Precautions in place.", "Guardian Present.",
        "Daughter Says he is confused.", "Cushing syndrome ruled out.", "Patient Medicare number asked for.",
    ),
)  # fmt: skip


def sentences(rules: Rules, seed: int = 1) -> Iterator[Sentence]:
    """Each context with several names, then each sentence without one."""
    draw = Random(seed)
    for context in (*rules.contexts, *rules.unmarked):
        for _ in range(PER_CONTEXT):
            fore, sur = draw.choice(rules.forenames), draw.choice(rules.surnames)
            name = {"full": f"{fore} {sur}", "sur": sur, "fore": fore}[context.split("{")[1].split("}")[0]]
            name = name.upper() if context.isupper() or context.replace("{full}", "").isupper() else name
            before = context.split("{")[0]
            text = before + name + context.split("}")[1]
            yield Sentence(text, (len(before), len(before) + len(name)), context)
    for text in rules.negatives:
        yield Sentence(text, None, text)
