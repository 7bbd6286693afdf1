"""ZenML's Kubeflow orchestrator with what a GPU step needs; needs kfp (docs/kubernetes.md, Kubeflow).

    zenml orchestrator flavor register mlops.kubeflow.Flavor

ZenML 0.98 replaces any `pod_settings` by the deprecated `node_selectors`, knows no memory or volume, and writes the API
token of the run into the compiled file. This flavour carries `pod_settings` (GPU, memory, node selector, tolerations,
volumes, variables, labels, user and group), retries and a deadline, and takes the key of a Secret in the token's place.
Kubeflow Pipelines cannot say that a root is read-only: the security context of kfp-kubernetes 2.17.3, the newest in
November 2026, has user, group and `runAsNonRoot` alone. It drops all capabilities by itself.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from kfp import kubernetes
from pydantic import model_validator
from zenml.integrations.kubeflow.flavors import kubeflow_orchestrator_flavor as zenml_flavor
from zenml.integrations.kubeflow.orchestrators import KubeflowOrchestrator

GPU = "nvidia.com/gpu"
TOKENS = ("ZENML_STORE_API_TOKEN", "ZENML_STORE_API_KEY", "ZENML_STORE_PASSWORD")


class Settings(zenml_flavor.KubeflowOrchestratorSettings):
    """Of a step or a run; the keys of ZenML, and three more."""

    timeout_seconds: int | None = None
    """Of one try of a step, waiting for a GPU included."""
    client_secret: str = "zenml-client"
    """A Secret of the user's namespace whose `api-key` the steps log in to ZenML with."""
    service_account: str | None = None
    """Of the pods; None for Kubeflow's default."""

    @model_validator(mode="before")
    @classmethod
    def _validate_and_migrate_pod_settings(cls, data: Any) -> Any:
        """Takes the place of ZenML's validator of this name, which would drop `pod_settings`."""
        return data


class Config(zenml_flavor.KubeflowOrchestratorConfig, Settings):
    """Of the component."""

    @model_validator(mode="before")
    @classmethod
    def _validate_and_migrate_pod_settings(cls, data: Any) -> Any:
        return data


class Component:
    """A step that remembers its task: ZenML names what a step waits for by components, and kfp 2.17 wants tasks."""

    def __init__(self, component: Any) -> None:
        self.component = component
        self.task: Any = None

    def __call__(self) -> Any:
        self.task = self.component()
        after = self.task.after
        self.task.after = lambda *upstream: after(*(component.task for component in upstream))
        return self.task


class Orchestrator(KubeflowOrchestrator):
    """Compiles each step with its pod settings."""

    @property
    def settings_class(self) -> type[Settings]:
        return Settings

    def submit_pipeline(self, snapshot: Any, stack: Any, step_environments: Any, **more: Any) -> Any:
        """Compile and submit; no token of `step_environments` reaches the compiled file."""
        self._steps = {name.replace("_", "-"): step for name, step in snapshot.step_configurations.items()}
        open_values = {
            step: {name: value for name, value in values.items() if name not in TOKENS}
            for step, values in step_environments.items()
        }
        return super().submit_pipeline(snapshot, stack, step_environments=open_values, **more)

    def _get_kfp_client(self, settings: Any) -> Any:
        client = super()._get_kfp_client(settings)
        run = client.create_run_from_pipeline_package
        client.create_run_from_pipeline_package = partial(run, service_account=settings.service_account)
        return client

    def _create_dynamic_component(self, *arguments: Any) -> Any:
        return Component(super()._create_dynamic_component(*arguments))

    def _configure_container_resources(self, task: Any, *_: Any) -> Any:
        step = self._steps[task.name]
        settings: Any = self.get_settings(step)
        kubernetes.use_secret_as_env(task, settings.client_secret, {"api-key": "ZENML_STORE_API_KEY"})
        if settings.timeout_seconds:
            kubernetes.set_timeout(task, settings.timeout_seconds)
        if step.config.retry:
            task.set_retry(step.config.retry.max_retries)
        if settings.pod_settings:
            carry(task, settings.pod_settings)
        return task


def carry(task: Any, pod: Any) -> None:
    """Give a task of Kubeflow Pipelines the pod settings of ZenML.

    Raises:
        ValueError: a volume is neither a claim, a Secret nor an empty folder.
    """
    requests, limits = ({} if pod.resources is None else pod.resources.get(key, {}) for key in ("requests", "limits"))
    for amounts, set_cpu, set_memory in (
        (requests, task.set_cpu_request, task.set_memory_request),
        (limits, task.set_cpu_limit, task.set_memory_limit),
    ):
        if "cpu" in amounts:
            set_cpu(str(amounts["cpu"]))
        if "memory" in amounts:
            set_memory(str(amounts["memory"]))
    if GPU in limits:
        task.set_accelerator_type(GPU).set_accelerator_limit(str(limits[GPU]))
    for key, value in pod.node_selectors.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pod.tolerations:
        kubernetes.add_toleration(task, **{key: v for key, v in toleration.items() if v is not None})
    for variable in pod.env:
        task.set_env_variable(variable["name"], variable["value"])
    for key, value in pod.labels.items():
        kubernetes.add_pod_label(task, key, value)
    security = pod.additional_pod_spec_args.get("security_context") or {}
    if "runAsUser" in security:
        kubernetes.set_security_context(task, security["runAsUser"], security.get("runAsGroup"), run_as_non_root=True)
    paths = {mount["name"]: mount for mount in pod.volume_mounts}
    for volume in pod.volumes:
        path = paths[volume["name"]]["mountPath"]
        match {key: value for key, value in volume.items() if value is not None}:
            case {"persistentVolumeClaim": claim}:
                kubernetes.mount_pvc(task, claim["claimName"], path)
            case {"secret": secret}:
                kubernetes.use_secret_as_volume(task, secret["secretName"], path)
            case {"emptyDir": folder}:
                kubernetes.empty_dir_mount(task, volume["name"], path, folder.get("medium"), folder.get("sizeLimit"))
            case _:
                raise ValueError(f"pod_settings.volumes: {volume['name']!r} is no claim, Secret or empty folder")


class Flavor(zenml_flavor.KubeflowOrchestratorFlavor):
    """`r2d-kubeflow`."""

    @property
    def name(self) -> str:
        return "r2d-kubeflow"

    @property
    def config_class(self) -> type[Config]:
        return Config

    @property
    def implementation_class(self) -> type[Orchestrator]:
        return Orchestrator
