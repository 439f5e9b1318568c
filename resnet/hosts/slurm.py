"""What Slurm's variables say of a job step: where its tasks are, and which of them this process is.

The list of addresses is TensorFlow's own (SlurmClusterResolver), and so is its order: nodes by name. Slurm counts tasks
in another order (node 9 before node 10, or by `--distribution`), so SLURM_PROCID does not lead to a task's address.
A process finds itself by its node and by its number on that node.
"""

from __future__ import annotations

from collections.abc import Mapping

from resnet.errors import UserError

TASKS = "SLURM_STEP_NUM_TASKS"  # only srun sets it
# A job has 32 successive ports of its own, for its tasks on a node and their meeting: jobs with successive numbers do
# not meet on a node. All are below those that Linux gives to outgoing connections.
FIRST_PORT, PORTS_PER_JOB, PORT_BLOCKS = 12_000, 32, 600
ADVICE = "Start the processes with srun, or describe the cluster in TF_CONFIG."


def addresses_and_rank(environ: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """The addresses of a job step's tasks, and which of them is this process. Raises UserError."""
    first_port = FIRST_PORT + _number(environ, "SLURM_JOB_ID") % PORT_BLOCKS * PORTS_PER_JOB
    tasks = _number(environ, TASKS)
    own = f"{_text(environ, 'SLURMD_NODENAME')}:{first_port + _number(environ, 'SLURM_LOCALID')}"
    addresses = _resolved(first_port, tasks)
    if own not in addresses:
        raise UserError(
            f"Slurm's variables contradict each other: this task is at {own}, and SLURM_STEP_NODELIST with "
            f"SLURM_STEP_TASKS_PER_NODE says {', '.join(addresses)}. {ADVICE}"
        )
    return addresses, addresses.index(own)


def has_divided_gpus(environ: Mapping[str, str]) -> bool:
    """Whether Slurm shows each task its own GPUs only, and not all those of the job on its node."""
    if environ.get("SLURM_GPU_BIND", "none") != "none" or "gpu" in environ.get("SLURM_TRES_PER_TASK", ""):
        return True
    return any(name in environ for name in ("SLURM_GPUS_PER_TASK", "SLURM_NTASKS_PER_GPU"))


def _resolved(first_port: int, tasks: int) -> tuple[str, ...]:
    """The addresses as TensorFlow sees them.

    `auto_set_gpu` is off, and one GPU a task is claimed so that the resolver does not count them: it would fail on
    nodes without GPUs, and number those that Slurm shows to a task from 0, whatever CUDA_VISIBLE_DEVICES says.
    """
    import tensorflow as tf  # takes seconds: only where there is Slurm

    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=first_port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        return tuple(resolver.cluster_spec().job_tasks("worker"))
    except (RuntimeError, ValueError) as error:
        raise UserError(f"TensorFlow cannot use Slurm's variables: {error}. {ADVICE}") from None


def _text(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise UserError(f"{TASKS} is set, and {name} is not. {ADVICE}")
    return environ[name]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _text(environ, name)
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"{name} is {text!r}, and not a number. {ADVICE}")
    return int(text)
