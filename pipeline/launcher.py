"""How the processes of a training are started: [hosts] in luigi.cfg.

none    one process, as for every stage. Where something else starts the hosts, Kubernetes for one, each of them is
        `python -m resnet train`, with TF_CONFIG.
local   `count` processes on this machine, over the loopback interface.
srun    `count` tasks of Slurm, one a node of the job that `luigi` runs in.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from typing import NamedTuple

import luigi

from pipeline.configuration import Number
from pipeline.luigi_hooks import stop
from resnet import processes
from resnet.errors import UserError
from resnet.hosts.cluster import free_loopback_cluster
from resnet.settings import Training

LAUNCHERS = ("none", "local", "srun")


class Launcher(luigi.Parameter):
    """One of LAUNCHERS. Anything else stops `luigi` with one message."""

    def parse(self, text: str) -> str:
        if text not in LAUNCHERS:
            stop(f"luigi.cfg: launcher = {text} under [hosts] must be one of {', '.join(LAUNCHERS)}")
        return text


# Its name is the section's in luigi.cfg.
class hosts(luigi.Config):  # noqa: N801
    launcher = Launcher(default="none", description="what starts the hosts of a training: none, local or srun")
    count = Number(default=1, description="hosts to start")


class Process(NamedTuple):
    """A process to start. `is_child`: whether it does the work itself, and sends its news through a pipe. What Slurm
    starts may be on another machine, and cannot."""

    command: list[str]
    environment: Mapping[str, str] = {}
    is_child: bool = True

    @property
    def ending_signal(self) -> signal.Signals:
        """What it saves its work on. On SIGTERM, srun would kill its tasks."""
        return signal.SIGTERM if self.is_child else signal.SIGUSR1


def require_launcher(training: Training) -> None:
    """Raise UserError, before anything runs, where Train could not start the hosts that luigi.cfg asks for, or these
    could not share the recipe's replicas."""
    settings = hosts()
    if (settings.count != 1 and settings.launcher == "none") or settings.count == 0:
        raise UserError(
            f"count = {settings.count} under [hosts] in luigi.cfg, and launcher = {settings.launcher}: set a launcher "
            "that starts so many hosts (docs/cluster.md), or count = 1"
        )
    if settings.launcher == "srun" and not (shutil.which("srun") and "SLURM_JOB_ID" in os.environ):
        raise UserError(
            "launcher = srun under [hosts] in luigi.cfg starts the hosts in the Slurm job that luigi runs in, and this "
            "is none: run luigi in a job (docs/cluster.md), or set launcher = none"
        )
    training.require_even_shares(settings.count)


def training_processes(command: list[str]) -> list[Process]:
    """The processes that train together, the chief first."""
    settings = hosts()
    if settings.launcher == "local" and settings.count > 1:
        return [Process(command, {"TF_CONFIG": cluster.tf_config}) for cluster in free_loopback_cluster(settings.count)]
    if settings.launcher == "srun":
        srun = ["srun", f"--ntasks={settings.count}", "--ntasks-per-node=1", "--kill-on-bad-exit=0"]
        return [Process([*processes.command("resnet.processes"), *srun, *command], is_child=False)]
    return [Process(command)]
