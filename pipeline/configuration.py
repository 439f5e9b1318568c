"""What luigi.cfg says about where and how fast, as options of the stages' commands."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import luigi
import luigi.configuration

from pipeline.luigi_hooks import stop

NVIDIA = Path("/proc/driver/nvidia/version")  # where the driver is loaded


class Number(luigi.IntParameter):
    """A whole number, 0 or more. Anything else stops `luigi` with one message; Luigi alone would print a traceback."""

    least = 0

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"-?[0-9]+", text) or int(text) < self.least:
            stop(f"luigi.cfg: {text!r} must be a whole number, {self.least} or more ({self.description})")
        return int(text)


class NumberOrAuto(Number):
    """Likewise, or -1."""

    least = -1


class Minutes(luigi.FloatParameter):
    """A number, 0 or more."""

    def parse(self, text: str) -> float:
        try:
            minutes = float(text)
        except ValueError:
            minutes = math.nan
        if not 0 <= minutes < math.inf:
            stop(f"luigi.cfg: {text!r} must be a number, 0 or more ({self.description})")
        return minutes


class AbsolutePath(luigi.Parameter):
    """A path, made absolute: under one luigid, `artifacts` of two folders are two paths. Empty: none."""

    def normalize(self, text: str) -> str:
        return os.path.abspath(os.path.expanduser(text)) if text else text


class RecipeName(AbsolutePath):
    """The name of a shipped recipe as it is, or the absolute path of a recipe file."""

    def normalize(self, text: str) -> str:
        return super().normalize(text) if text.endswith(".toml") else text


# Its name is the section's in luigi.cfg.
class pipeline(luigi.Config):  # noqa: N801
    recipe = luigi.Parameter(default="digits", description="recipe of new runs without --recipe")
    artifacts = luigi.Parameter(default="artifacts", description="folder that everything is written under")
    data = luigi.Parameter(default="", description="root of the images of runs without --data")
    workers = Number(default=0, description="worker processes; 0: one a core")
    devices = Number(default=0, description="GPUs to train on; 0: all")
    cpu_devices = Number(default=1, description="logical devices to split the CPU into")
    replicas_at_once = Number(default=0, description="replicas that a device runs in one pass; 0: by its memory")
    gpu = NumberOrAuto(default=-1, description="of the scheduler's resource gpu, for a stage; -1: one with a GPU")
    webhook = luigi.Parameter(default="", description="address that hears of every task that succeeds or fails")
    retries = Number(default=3, description="attempts after a failure that may pass, such as a lost host; 0: none")
    retry_seconds = Number(default=15, description="seconds before the first of them; 4 times as many before the next")
    step_minutes = Minutes(default=30.0, description="minutes that a training step may take; 0: any time")


def data_of(dataset: str) -> str:
    """Where luigi.cfg says that this data set's images are; empty where it does not say."""
    return luigi.configuration.get_config().get("data", dataset, "") if dataset else ""


def gpus() -> int:
    """How many of the scheduler's resource `gpu` a stage that computes takes."""
    wanted = pipeline().gpu
    return wanted if wanted >= 0 else int(NVIDIA.exists())


def machine_options() -> list[str]:
    settings = pipeline()
    return [
        f"--workers={settings.workers}",
        f"--devices={settings.devices}",
        f"--cpu-devices={settings.cpu_devices}",
        f"--replicas-at-once={settings.replicas_at_once}",
        f"--step-minutes={settings.step_minutes}",
    ]
