"""Made-up identifiers in many writings, sound and mistyped. No value belongs to anyone on purpose."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

from stdnum import luhn
from stdnum.gb import nhs

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_NAMES = {
    "tune": (
        ["James", "Linda", "Robert", "Aisha", "Wei", "Sofia", "Tom", "Grace", "Marek", "Priya", "Siobhan", "Élodie"],
        ["Smith", "Johnson", "Okafor", "Patel", "Nguyen", "O'Brien", "García", "Kowalski", "Brown", "van Dijk", "Li"],
    ),
    "held_out": (
        ["Michael", "Deborah", "Yusuf", "Chioma", "Hiroshi", "Ana", "Will", "Rose", "Björn", "Fatima", "Niamh", "Jo"],
        ["Williams", "Fernández", "McCarthy", "Chaudhry", "Tanaka", "de la Cruz", "Young", "Müller", "D'Souza", "Park"],
    ),
}


def digits(random: Random, count: int, first: str = "0123456789") -> str:
    """A run of random digits."""
    return random.choice(first) + "".join(random.choice("0123456789") for _ in range(count - 1))


def grouped(number: str, *sizes: int, by: str) -> str:
    """A number cut into groups."""
    cuts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
    return by.join(number[start:end] for start, end in pairwise(cuts))


def phone(random: Random, half: str) -> str:
    """A North American number, now and then one of another country with its code."""
    area = random.choice(["212", "415", "617", "416", "312", "604", "206", "305", "555"])
    local, last = digits(random, 3, "2345678"), digits(random, 4)
    forms = {
        "tune": [
            f"{area}-{local}-{last}",
            f"({area}) {local}-{last}",
            f"+1 {area} {local} {last}",
            f"{area}.{local}.{last}",
        ],
        "held_out": [
            f"{area} {local} {last}",
            f"1-{area}-{local}-{last}",
            f"({area}){local}-{last}",
            f"{area}{local}{last}",
            f"{area}-{local}-{last} x{digits(random, 3, '123')}",
            f"+44 7700 9{digits(random, 5)}",
            f"({area}) {local} - {last}",
            f"{local}-{last}",
        ],
    }
    return random.choice(forms[half])


def email(random: Random, half: str) -> str:
    """An address."""
    forename, surname = random.choice(["anna", "jk", "r.lopez", "sam_w"]), random.choice(["lee", "moss", "hart"])
    forms = {
        "tune": [f"{forename}.{surname}@example.com", f"{forename}{digits(random, 2)}@mail.example.org"],
        "held_out": [
            f"{forename}-{surname}+clinic@example.co.uk",
            f"{forename.upper()}@EXAMPLE.NET",
            f"{forename} [at] example [dot] com",
            f"{surname}_{digits(random, 4)}@nhs.example",
        ],
    }
    return random.choice(forms[half])


def date_of_birth(random: Random, half: str) -> str:
    """A date of someone alive."""
    year, month, day = random.randint(1925, 2023), random.randint(1, 12), random.randint(1, 28)
    name = MONTHS[month - 1]
    forms = {
        "tune": [
            f"{month:02}/{day:02}/{year}",
            f"{year}-{month:02}-{day:02}",
            f"{day} {name} {year}",
            f"{month}/{day}/{year % 100:02}",
        ],
        "held_out": [
            f"{name[:3]} {day}, {year}",
            f"{day:02}.{month:02}.{year}",
            f"{day:02}-{name[:3].upper()}-{year}",
            f"{day}th of {name}, {year}",
            f"{year}/{month:02}/{day:02}",
            f"{year}{month:02}{day:02}",
            f"{day}.{month}.{year % 100:02}",
        ],
    }
    return random.choice(forms[half])


def nhs_number(random: Random, half: str) -> str:
    """An NHS number with a sound check digit."""
    number = digits(random, 10, "4679")
    while not nhs.is_valid(number):
        number = digits(random, 10, "4679")
    return grouped(number, 3, 3, 4, by=random.choice(["", " ", "-"] if half == "held_out" else [" ", ""]))


def ohip_number(random: Random, half: str) -> str:
    """An Ontario number, often with its version code."""
    number = digits(random, 9, "123456789")
    number += luhn.calc_check_digit(number)
    written = grouped(number, 4, 3, 3, by=random.choice(["-", " "] if half == "tune" else ["-", " ", ""]))
    return written + random.choice(["", "-AB", " XK"])


def medicare_number(random: Random, half: str) -> str:
    """An Australian Medicare number."""
    number = digits(random, 8, "23456")
    total = sum(weight * int(digit) for weight, digit in zip((1, 3, 7, 9, 1, 3, 7, 9), number, strict=True))
    return grouped(f"{number}{total % 10}1", 4, 5, 1, by=" " if half == "tune" else random.choice([" ", ""]))


def beneficiary_number(random: Random, half: str) -> str:
    """A US Medicare beneficiary identifier."""
    letters, both = "ACDEFGHJKMNPQRTUVWXY", "0123456789ACDEFGHJKMNPQRTUVWXY"
    number = (
        digits(random, 1, "123456789")
        + random.choice(letters)
        + random.choice(both)
        + digits(random, 1)
        + random.choice(letters)
        + random.choice(both)
        + digits(random, 1)
        + random.choice(letters)
        + random.choice(letters)
        + digits(random, 2)
    )
    return grouped(number, 4, 3, 4, by="-") if random.random() < 0.5 else number


def ssn(random: Random, half: str) -> str:
    """A US social security number."""
    number = digits(random, 3, "1234") + str(random.randint(10, 99)) + digits(random, 4, "123456789")
    return grouped(number, 3, 2, 4, by="-" if half == "tune" else random.choice(["-", " ", ""]))


def sin(random: Random, half: str) -> str:
    """A Canadian social insurance number."""
    number = digits(random, 8, "1234567")
    return grouped(number + luhn.calc_check_digit(number), 3, 3, 3, by=random.choice([" ", "-"]))


def nino(random: Random, half: str) -> str:
    """A UK National Insurance number."""
    number = random.choice(["AB", "CE", "JK", "PX", "SR"]) + digits(random, 6) + random.choice("ABCD")
    return grouped(number, 2, 2, 2, 2, 1, by=" ") if random.random() < 0.5 else number


def uk_postcode(random: Random, half: str) -> str:
    """A British postcode."""
    area = random.choice(
        ["SW1A", "M1", "LS6", "EH3", "B15"] if half == "tune" else ["N7", "WC2H", "CF10", "OX4", "BT9"]
    )
    code = f"{area} {digits(random, 1)}{random.choice('ABDEFG')}{random.choice('HJLNPQ')}"
    return code if random.random() < 0.8 else code.replace(" ", "")


def canadian_postcode(random: Random, half: str) -> str:
    """A Canadian postal code."""
    area = random.choice("KLMVT") + digits(random, 1) + random.choice("ABCEHR")
    code = f"{area} {digits(random, 1)}{random.choice('ABEGZ')}{digits(random, 1)}"
    return code if random.random() < 0.7 else code.replace(" ", "")


def zip_code(random: Random, half: str) -> str:
    """A ZIP code of Illinois (tune) or Massachusetts (held out)."""
    code = ("60" if half == "tune" else "02") + digits(random, 3)
    return code + ("-" + digits(random, 4) if random.random() < 0.3 else "")


def record_number(random: Random, half: str) -> str:
    """A number of a hospital record."""
    forms = {
        "tune": [digits(random, 7), digits(random, 6), f"{digits(random, 3)}-{digits(random, 4)}"],
        "held_out": [
            digits(random, 8),
            f"H{digits(random, 7)}",
            f"{digits(random, 2)}-{digits(random, 2)}-{digits(random, 2)}",
            f"AB-{digits(random, 5)}",
        ],
    }
    return random.choice(forms[half])


def surname(random: Random, half: str) -> str:
    """A family name."""
    return random.choice(_NAMES[half][1])


def full_name(random: Random, half: str) -> str:
    """Forename and family name, now and then with an initial."""
    middle = random.choice(["", "", f" {random.choice('ABCDEJ')}."])
    return f"{random.choice(_NAMES[half][0])}{middle} {surname(random, half)}"


def forename(random: Random, half: str) -> str:
    """A first name."""
    return random.choice(_NAMES[half][0])


def mistyped(random: Random, value: str) -> str:
    """A value with two neighbouring digits exchanged: one that a person would still recognise."""
    pairs = [at for at in range(len(value) - 1) if value[at : at + 2].isdigit() and value[at] != value[at + 1]]
    if not pairs:
        return value
    at = random.choice(pairs)
    return value[:at] + value[at + 1] + value[at] + value[at + 2 :]


VALUES: dict[str, tuple[str, Callable[[Random, str], str]]] = {
    "phone": ("phone", phone),
    "email": ("email", email),
    "dob": ("date_of_birth", date_of_birth),
    "nhs": ("health_card", nhs_number),
    "ohip": ("health_card", ohip_number),
    "medicare": ("health_card", medicare_number),
    "mbi": ("health_card", beneficiary_number),
    "ssn": ("national_id", ssn),
    "sin": ("national_id", sin),
    "nino": ("national_id", nino),
    "uk": ("postal_code", uk_postcode),
    "canada": ("postal_code", canadian_postcode),
    "zip": ("postal_code", zip_code),
    "record": ("record_number", record_number),
    "surname": ("person_name", surname),
    "name": ("person_name", full_name),
    "forename": ("person_name", forename),
}
"""Slot of a template -> the recogniser that should find it, and how to make one."""
