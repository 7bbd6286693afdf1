"""The bill of materials of this environment, as CycloneDX 1.6: every installed package with its version and licence.

`python -m mlops.sbom FILE` writes the one of the image (k8s/Dockerfile); a registered model has the one of its training
beside it. It is a file of its own because CycloneDX's tool would be one more package in every pod, for these lines.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Mapping
from importlib.metadata import PackageMetadata, distributions
from pathlib import Path
from typing import cast

from r2d.files import write_json

MAX_LICENCE_CHARACTERS = 100
"""Some packages put the whole text of their licence where its name belongs."""


def bill_of_materials() -> dict[str, object]:
    """The bill as JSON. It has no time and no serial number, so that equal environments give equal files."""
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")}  # not what a process has put on its path
    found_there = [found.metadata for found in distributions(path=sorted(places))]  # each access reads the file
    installed = {re.sub(r"[-_.]+", "-", found["Name"]).lower(): found for found in found_there if found["Name"]}
    components = [_component(name, installed[name]) for name in sorted(installed)]
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


def _component(name: str, found: PackageMetadata) -> dict[str, object]:
    purl = f"pkg:pypi/{name}@{found['Version']}"
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": found["Version"],
        "purl": purl,
    }
    fields = cast(Mapping[str, str | None], found)
    classifiers = [line for line in found.get_all("Classifier") or [] if line.startswith("License ::")]
    named = [line.rpartition(" :: ")[2] for line in classifiers] or [(fields.get("License") or "").strip()]
    names = [text for text in named if text and len(text) <= MAX_LICENCE_CHARACTERS and "\n" not in text]
    if expression := fields.get("License-Expression"):
        component["licenses"] = [{"expression": expression}]
    elif names:
        component["licenses"] = [{"license": {"name": text}} for text in names]
    return component


if __name__ == "__main__":
    write_json(Path(sys.argv[1]), bill_of_materials())
