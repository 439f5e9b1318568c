"""Which hosts train together, and which of them this process is.

A host is a process that drives all of its GPUs; several may be on one machine. Its rank is its place in the list of
addresses. Rank 0 is the chief: it alone writes checkpoints, logs and artifacts.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet.errors import UserError
from resnet.hosts.slurm import TASKS, addresses_and_rank, has_divided_gpus

FREE_PORTS = range(12_000, 32_000)  # below those that Linux gives to outgoing connections (32768 and up)
LOOPBACK = "127.0.0.1"
EXAMPLE = '{"cluster": {"worker": ["host0:8888", "host1:8888"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The hosts, by rank, and the rank of this process."""

    addresses: tuple[str, ...]  # "host:port", where TensorFlow listens
    rank: int

    @property
    def hosts(self) -> int:
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        return self.rank == 0

    @property
    def tf_config(self) -> str:
        """What TensorFlow reads from the environment variable TF_CONFIG. All are workers: the first is the chief."""
        task = {"type": "worker", "index": self.rank}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})

    @property
    def meeting_port(self) -> int:
        """The port of the chief's machine at which the hosts meet: the first after TensorFlow's that no host has."""
        taken = {_port(address) for address in self.addresses}
        first = _port(self.addresses[0])
        return next(port for port in (*range(first + 1, 65_536), *range(first, 1023, -1)) if port not in taken)

    @property
    def processes_on_machine(self) -> list[int]:
        """The ranks on the machine of this process, as the addresses name it."""
        own = self.machine(self.rank)
        return [rank for rank in range(self.hosts) if self.machine(rank) == own]

    def machine(self, rank: int) -> str:
        """The name, or the number, of a host's machine."""
        return self.addresses[rank].rpartition(":")[0].strip("[]")

    def named(self, rank: int) -> str:
        """A host, for messages."""
        return f"host {rank} ({self.addresses[rank]})"


ONE_HOST = Cluster(("localhost:0",), 0)  # it listens nowhere


def cluster_of(environ: Mapping[str, str]) -> Cluster:
    """The cluster that the environment describes: TF_CONFIG, or a job step of Slurm with several tasks, or one host.

    Slurm's variables are read by TensorFlow's resolver, which looks at the environment of this process. Raises
    UserError where the variables cannot be used.
    """
    if environ.get("TF_CONFIG"):
        return _from_tf_config(environ["TF_CONFIG"])
    if environ.get(TASKS, "1") != "1":
        addresses, rank = addresses_and_rank(environ)
        return Cluster(addresses, rank)
    return ONE_HOST


def own_gpus(cluster: Cluster, found: int, environ: Mapping[str, str]) -> range:
    """Which of the `found` GPUs that this process sees are its own: all of them, unless it shares its machine with
    other hosts and Slurm has not given each its own.

    Raises UserError where there are fewer GPUs than processes.
    """
    neighbours, is_from_slurm = cluster.processes_on_machine, not environ.get("TF_CONFIG")
    if found == 0 or len(neighbours) == 1 or (is_from_slurm and has_divided_gpus(environ)):
        return range(found)
    each = found // len(neighbours)
    if each == 0:
        raise UserError(
            f"{len(neighbours)} hosts are processes of the machine {cluster.machine(cluster.rank)}, which has "
            f"{found} GPUs: start at most one process for each GPU"
        )
    first = neighbours.index(cluster.rank) * each
    return range(first, first + each)


def require_own_port(cluster: Cluster) -> None:
    """Raise UserError where the port at which TensorFlow will listen is in use."""
    port = _port(cluster.addresses[cluster.rank])
    if cluster.hosts > 1 and not _is_free(port, ""):
        raise UserError(
            f"port {port} of this machine, where TensorFlow would listen, is in use: end the other program (`ss -ltnp` "
            "names it; it may be an earlier attempt), or give this host another port (under Slurm, where the job's "
            "number decides it: submit the job again)"
        )


def free_loopback_cluster(hosts: int) -> list[Cluster]:
    """A cluster of processes on this machine, as each of them sees it, at ports that are free at this moment.

    Raises UserError where there are none.
    """
    for _ in range(100):
        first = random.SystemRandom().choice(FREE_PORTS)
        if all(map(_is_free, range(first, first + hosts + 1))):  # the one after the last is for the meeting
            addresses = tuple(f"{LOOPBACK}:{first + rank}" for rank in range(hosts))
            return [Cluster(addresses, rank) for rank in range(hosts)]
    raise UserError(
        f"no {hosts + 1} successive ports between {FREE_PORTS.start} and {FREE_PORTS.stop} are free on 127.0.0.1: end "
        "the programs that use them (`ss -ltnp` lists them)"
    )


def _is_free(port: int, address: str = LOOPBACK) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not matter
        try:
            attempt.bind((address, port))
        except OSError:
            return False
        return True


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _from_tf_config(text: str) -> Cluster:
    """The cluster in TensorFlow's own terms: workers only, the first of them the chief, or one chief and workers."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(f"is not JSON ({error})") from None
    jobs, task = (config.get(key) if isinstance(config, dict) else None for key in ("cluster", "task"))
    if not isinstance(jobs, dict) or not jobs:
        raise _unusable('has no "cluster"')
    if strange := sorted(set(jobs) - {"chief", "worker"}):
        raise _unusable(f"has a job {strange[0]!r}: only workers train here, and one of them may be called chief")
    addresses = {job: _addresses_of(job, found) for job, found in jobs.items()}
    if len(addresses.get("chief", ["one"])) != 1:
        raise _unusable(f"has {len(addresses['chief'])} chiefs, and there can be one")
    everyone = [*addresses.get("chief", []), *addresses.get("worker", [])]
    if not everyone:
        raise _unusable("has no workers")
    if repeated := sorted({address for address in everyone if everyone.count(address) > 1}):
        raise _unusable(f"has the address {repeated[0]} twice: each host needs its own")
    job, index = _task_of(task, addresses)
    return Cluster(tuple(everyone), index + (len(addresses.get("chief", [])) if job == "worker" else 0))


def _addresses_of(job: str, found: Any) -> Sequence[str]:
    if not isinstance(found, list):
        raise _unusable(f'has no list of addresses for "{job}"')
    for address in found:
        machine, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not machine or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
            raise _unusable(f'has the address {json.dumps(address)}: an address is "host:port"')
        if "/" in machine or any(letter.isspace() for letter in machine):
            raise _unusable(f"has the address {json.dumps(address)}, with what is neither a name nor a number")
    return found


def _task_of(task: Any, addresses: Mapping[str, Sequence[str]]) -> tuple[str, int]:
    job, index = (task.get(key) if isinstance(task, dict) else None for key in ("type", "index"))
    if not isinstance(job, str) or job not in addresses:
        raise _unusable(f'has no "task" whose "type" is {" or ".join(sorted(addresses))}')
    if isinstance(index, str) and index.isascii() and index.isdigit():  # written by a shell
        index = int(index[:9])
    if not isinstance(index, int) or isinstance(index, bool):
        raise _unusable('has no "index" in its "task"')
    if not 0 <= index < len(addresses[job]):
        raise _unusable(f"has the index {index}, and {job} has {len(addresses[job])} addresses, counted from 0")
    return job, index


def _unusable(why: str) -> UserError:
    return UserError(
        f"the environment variable TF_CONFIG {why}. Correct it, or unset it to train on one host: {EXAMPLE}"
    )
