"""One stage of training on several nodes of a cluster, opt-in: docs/kubernetes.md, "Several nodes".

zenml pipeline run pipelines.multi_node.multi_node --config configs/cluster/multi_node.yaml
"""

from zenml import CommandStep

from pipelines.outcome import pipeline


@pipeline("multi_node", alerts=False)
def multi_node(work_dir: str = "/checkpoints/several-nodes") -> None:
    """Each pod runs the same command. ZenML gives it no inputs and keeps no outputs: what it leaves lies in `work_dir`.

    Args:
        work_dir: on a volume that all pods share; `r2d.training.work.write_work` has filled it.
    """
    CommandStep(command=["python", "-m", "steps.train_on_nodes", work_dir], name="train_on_nodes", step_operator=True)()
