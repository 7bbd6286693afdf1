"""Sentences with and without identifiers. `held_out` was written apart from `tune` and is never looked at for tuning.

A slot such as `{phone}` takes a value of `privacy_values.VALUES`; `<...>` takes harmless numbers.
"""

from __future__ import annotations

FILLERS = {
    "tune": (
        "58 y/o male with chest pain for 2 hours, BP 142/88, HR 96, SpO2 97%.",
        "Took ibuprofen 400 mg x 3 in 24 h without relief.",
        "Denies fever, last temp 98.6 F.",
        "Onset around 14:30 today; pain 7/10.",
        "PMH: T2DM, HTN, CABG in 2009.",
        "Patient reports dizziness on standing.",
    ),
    "held_out": (
        "Wheezing since last night, RR 24, sats 93% on room air.",
        "Hx of asthma; salbutamol 2 puffs q4h, last dose 06:15.",
        "No red flags. Advised to attend within 4 hours.",
        "Vomited x5 since 3am, no blood, passing urine.",
        "Weight 72.5 kg, glucose 11.4 mmol/L, eGFR 58.",
        "Pregnant 32+4, G2P1, movements normal.",
    ),
}

IDENTIFYING = {
    "tune": (
        "Call back at {phone}.", "Best phone: {phone}", "Contact number {phone}, voicemail ok.", "Tel. {phone}",
        "Reached caller on {phone} after two tries.", "{phone} is the number on file.",
        "Email {email} for results.", "Send the form to {email}, please.",
        "DOB: {dob}.", "Date of birth {dob}.", "Pt was born on {dob}.", "D.O.B. {dob}, female.",
        "NHS number {nhs}.", "NHS no: {nhs}", "OHIP {ohip}.", "Health card number: {ohip}.",
        "Medicare card {medicare}.",
        "MBI {mbi} verified.", "Medicare ID {mbi}",
        "SSN {ssn}.", "Social security number is {ssn}.", "SIN {sin}", "NI number {nino}.",
        "Lives at 12 High Street, {uk}.", "Postcode {uk}.", "Address: 5 King St, Toronto, {canada}",
        "Chicago, IL {zip}.",
        "ZIP code {zip}.",
        "MRN {record}.", "MRN: {record}", "Chart number {record}.", "Account no. {record}", "Medical record #{record}.",
        "Mr {surname} called.", "Seen by Dr. {surname}.", "Mrs. {name} is short of breath.", "Patient name: {name}.",
        "Her husband {forename} is with her.", "My name is {name}.", "Nurse {surname} took the call.",
    ),
    "held_out": (
        "Pls ring daughter back on {phone} after 5pm.", "Mobile - {phone}.", "Cb# {phone}.", "Fax to {phone} today",
        "Her work line is {phone}, ask for reception.", "Pharmacy ({phone}) to be phoned re refill.",
        "pt gave {phone} as alternate", "You can text me, {phone}, any time.",
        "Portal login {email}, forgot password.", "E-mail address on record is {email}.", "cc: {email}",
        "Contact: {email} / husband at work.",
        "dob {dob}", "Birth date given as {dob}, matches chart.", "She was born {dob} in Leeds.",
        "DOB ({dob}) confirmed x2.",
        "Baby's birthday is {dob}.", "ID check: name and d.o.b {dob} ok.",
        "nhs {nhs} checked on Spine.", "His NHS no. is {nhs}.", "HCN {ohip}.", "Ontario health card {ohip} expired",
        "Medicare no {medicare} ref 2.", "Insurance: Medicare {mbi}", "{mbi} (MBI) on card.",
        "{nhs} - NHS number read back.",
        "Last SSN on file: {ssn}.", "pt's ss# {ssn}", "Social Security: {ssn}", "Soc. insurance no. (SIN): {sin}.",
        "National Insurance {nino} given.", "NINO={nino}",
        "Ambulance to 4 Mill Lane, {uk} please.", "pt's postcode is {uk}", "Moved to {uk} last year.",
        "Mailing address: PO Box 9, Ottawa ON {canada}", "resides {canada}", "88 Elm St, Worcester MA {zip}",
        "Boston, Massachusetts {zip}", "Her zip is {zip}.",
        "mrn#{record}", "Hospital no. {record}, ward 4.", "Med rec {record} pulled.", "Acct # {record} has a balance.",
        "Pt ID {record}.", "Chart # {record} merged.", "Policy number: {record} (spouse).", "File {record} requested.",
        "Call taken from Ms {surname}, neighbour.", "D/w Dr {surname} who agrees.",
        "Prof. {surname} reviewed the scan.",
        "Caller: {name} (wife).", "Pt's name is {name}.", "NOK: {name}, sister.", "Son {forename} will drive her in.",
        "A boy named {forename} fell from a swing.", "This is {name} calling about my mother.",
        "{name} is a 45-year-old teacher.",
        "Signed electronically by {name}, RN", "Name - {name}", "Asked {forename} to bring his meds.",
        "mr {surname} rang again",
        "Mr. and Mrs. {surname} both unwell.", "Spoke with {name} at length.",
    ),
}  # fmt: skip

HARMLESS = {
    "tune": (
        "BP <120-180>/<60-100>, HR <50-150>, RR 18, SpO2 98%, T 98.6.",
        "Registered as NCT0<1000000-9999999>.",
        "Between 1998 and 2004, <10000-99999> patients were enrolled.",
        "WBC <4000-15000>, platelets <100000-450000>, Na 138, K 4.1.",
        "Staged as T2N1M0, later T4N1M1.",
        "Hazard ratio 1.42 (95% CI 1.10-1.83; p = 0.0004).",
        "MR imaging and MS were discussed. DR screening is due.",
        "Dose 5000 units SC, then 1000-1500 mg daily.",
        "Seen 12/03/2021, next visit 04/05/2022.",
        "PMID <10000000-39999999>; doi 10.1001/jama.<2000-2023>.<1000-9999>.",
        "Name of drug: metformin 500 mg.",
    ),
    "held_out": (
        "Insulin 12-14-16 units before meals, lantus 22 qhs.",
        "Culture grew 100000 CFU/mL; creat 112, urea 7.8, CRP <5-300>.",
        "ISRCTN<10000000-99999999> and ACTRN126<10000000000-99999999999>.",
        "Mean cost was $<10000-99999>, in 2001-2005, n=<1000-99999>.",
        "Infants born between 1 January 1995 and 31 December 1999 were included.",
        "Mutations p.R273H, c.1799T>A and rs<10000000-99999999> were found (GenBank accession no. AF<100000-999999>).",
        "EDD 14/09/2024, LMP 08/12/2023, scan 20/02/2024.",
        "Repeat trop at 0600, 0900 and 1200; last 14, 19, 23 ng/L.",
        "Brand name is Tylenol; the device is named PleurX.",
        "Known Parkinson's, Crohn's and Graves disease; Apgar 8 and 9, Glasgow 15.",
        "His mother, African American, had SLE; father Irish.",
        "Lot 4<10000-99999>, exp 2026-03, 0.5 mL IM left deltoid.",
        "Family doctor and Nurse Practitioner aware; Doctor on call paged.",
        "Call 911 if worse, or the 24-hour line 111.",
        "NDC 00<100-999>-<1000-9999>-10, quantity 30, refills 2.",
        "IN 20000 men and OR 1.20 (1.05-1.37) per 10000 person-years.",
        "Patient: Alert and oriented. Caller: Reports Worsening cough.",
        "We compared 12345 vs 67890 reads; mean depth 120 130 1400.",
    ),
}
