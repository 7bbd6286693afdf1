"""The bill of materials names what is installed, in the form of CycloneDX."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from mlops.sbom import bill_of_materials


def test_it_names_every_package_once_with_version_and_address(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "mlops.sbom", tmp_path / "sbom.json"], check=True)
    bill = json.loads((tmp_path / "sbom.json").read_text("utf-8"))
    assert bill == bill_of_materials(), "equal environments give equal files"
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["name"]: component for component in bill["components"]}
    assert len(components) == len(bill["components"]) > 150
    for name in ("torch", "zenml", "mlflow", "transformers", "scikit-learn"):
        assert components[name]["version"] == version(name)
        assert re.fullmatch(rf"pkg:pypi/{name}@\S+", components[name]["purl"])
    licences = [component for component in components.values() if "licenses" in component]
    assert len(licences) > 0.9 * len(components)
