"""Words that stand capitalised where a name could, and are none."""

from __future__ import annotations

_TIMES = """
monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
october november december today tomorrow yesterday spring summer autumn winter easter christmas
"""
"""Days, months, places in time."""

_SMALL_WORDS = """
a an the he she it they we i you his her their our my your its this that these those there here who whom which what
when where why how if in on at as by for from to with without of off and or but not no nor yes so then than also
after before during while since until because although however therefore both each all any some none other another
is are was were be been being has have had do does did can could may might must shall should will would hi hello
thanks thank please sorry ok okay dear hey
"""
"""Small words that begin sentences."""

_NOTE_WORDS = """
male female man woman boy girl child adult infant baby baseline elderly unknown anonymous none na nil self denied
denies reports reported states stated says said presents presented presenting complains complaint complaints
complaining describes admits appears feels looks requests requested calls called calling advised advises advice
alert awake oriented stable unstable unwell well good bad better worse severe mild moderate acute chronic new old
currently recently previously history hx pmh allergies allergy medications medication meds vitals vital signs temp
temperature pulse bp hr rr spo2 pain fever cough age aged sex gender dob mrn id date time phone address name email
notes note plan assessment impression diagnosis disposition symptoms symptom social family past surgical chief onset
duration severity location review systems exam examination labs imaging results result summary
"""
"""What follows `patient:` or begins a sentence in a note."""

_HEADINGS = """
abstract background introduction objective objectives aim aims purpose design setting settings participants method
methods materials patients subjects intervention interventions measurements main outcome outcomes measures findings
conclusion conclusions discussion limitations implications interpretation context question rationale
"""
"""Headings of papers."""

_ROLES_AND_PLACES = """
patient pt client caller mother father mom mum dad wife husband son daughter sister brother parent parents guardian
spouse partner friend neighbor neighbour doctor dr mr mrs ms miss prof professor nurse nurses physician physicians
surgeon surgeons consultant registrar resident intern student staff clinician clinicians provider providers midwife
practitioner practitioners specialist specialists manager managers assistant assistants aide aides leader leaders
educator educators coordinator navigator researcher researchers anesthetist anaesthetist paramedic pharmacist team
led line call triage service services station home homes unit ward department clinic hospital center centre office
emergency ed er icu gp pcp primary care health healthcare medical medicine surgery cardiology neurology oncology
radiology pediatrics paediatrics psychiatry urology orthopedics orthopaedics dermatology gynecology gynaecology
obstetrics pathology anesthesia anaesthesia ethics committee institutional board association society university
college school institute foundation trust council national international royal american british canadian european
"""
"""People without their names."""

_PEOPLES = """
african asian hispanic latino latina caucasian white black indian chinese japanese korean french german italian
spanish english irish scottish welsh russian polish turkish arab arabic jewish muslim christian catholic hindu
mexican filipino vietnamese somali nigerian pakistani native aboriginal indigenous maori greek dutch swedish danish
"""
"""Peoples and languages, after `mother` and the like."""

_THINGS = """
phase grade stage type level group class score scale index test trial study part section table figure case series
first second third one two three randomized randomised prospective retrospective covid covid-19 hiv aids dna rna mri
mr ct ecg ekg us usa uk spectroscopy angiography elastography enterography urography cholangiography imaging image
images scan scans mammography venography neurography who whose seuss strangelove
"""
"""Instruments, theories and medicine that follow `this is` and the like."""

NOT_NAMES = frozenset(
    " ".join([_TIMES, _SMALL_WORDS, _NOTE_WORDS, _HEADINGS, _ROLES_AND_PLACES, _PEOPLES, _THINGS]).split()
)
