"""`r2d doctor` on the test cluster, in a process with a ZenML of its own: its findings in several situations, as JSON.

ZENML_CONFIG_PATH=... R2D_...=... KUBECONFIG=... python -m tests.kubernetes.doctor_session findings.json

The kubeconfig has the contexts `admin` and `step`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main(target: Path) -> None:
    """Write situation -> name of a finding -> the finding."""
    from zenml.client import Client
    from zenml.enums import StackComponentType

    from mlops.doctor import examine
    from mlops.stack import apply_stack
    from r2d.errors import ConfigError

    def findings(stack: str, *, seconds: float = 60.0) -> dict[str, Any]:
        return {finding.name: asdict(finding) for finding in examine(stack, image_seconds=seconds)}

    client = Client()
    client.create_secret("object-store", {"key": "key", "secret": "secret"})
    client.create_secret("mlflow", {"username": "user", "password": "password"})
    apply_stack(ROOT / "k8s" / "stack.yaml")
    found: dict[str, Any] = {"services down": findings("reason2decide")}

    # The same stack with a store that is there, a folder, and with an account that may do nothing.
    client.create_stack_component("folder", "local", StackComponentType.ARTIFACT_STORE, {"path": str(target.parent)})
    store = {StackComponentType.ARTIFACT_STORE: "folder"}
    names = {type_: parts[0].name for type_, parts in client.get_stack("reason2decide").components.items()}
    client.create_stack("with-store", names | store)
    orchestrator = client.get_stack_component(StackComponentType.ORCHESTRATOR, "kubernetes").configuration
    client.create_stack_component(
        "as-step", "kubernetes", StackComponentType.ORCHESTRATOR, orchestrator | {"kubernetes_context": "step"}
    )
    client.create_stack("without-rights", names | store | {StackComponentType.ORCHESTRATOR: "as-step"})
    os.environ["R2D_IMAGE"] = "registry.invalid/nowhere:1.0"
    found["no image"] = findings("with-store", seconds=5.0)
    found["no rights"] = findings("without-rights")

    for name in ("default", "unknown"):
        try:
            found[name] = findings(name)
        except ConfigError as error:
            found[name] = str(error)
    target.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
