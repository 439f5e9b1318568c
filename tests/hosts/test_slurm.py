"""Clusters from Slurm's variables, in made environments. TensorFlow's resolver reads those of this process."""

from __future__ import annotations

import os

import pytest

from resnet.errors import UserError
from resnet.hosts.cluster import Cluster, cluster_of

PORT = 12_000 + 32 * 7  # of job 607: 600 blocks of ports


@pytest.fixture
def task(monkeypatch):
    """task("n[1-2]", "1(x2)", 2, "n2"): the cluster as the task on this node sees it."""

    def see(nodes: str, tasks_per_node: str, tasks: int, node: str, local: int = 0, **changes: str | None) -> Cluster:
        variables = {
            "SLURM_JOB_ID": "607",
            "SLURM_STEP_NUM_TASKS": str(tasks),
            "SLURM_STEP_NODELIST": nodes,
            "SLURM_STEP_TASKS_PER_NODE": tasks_per_node,
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": str(local),
            "SLURMD_NODENAME": node,
        }
        monkeypatch.delenv("TF_CONFIG", raising=False)
        for name, value in (variables | changes).items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
        try:
            return cluster_of(os.environ)
        finally:
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"  # the resolver would number GPUs from 0

    return see


def test_one_task_a_node_from_a_compressed_list(task):
    addresses = tuple(f"gpu{number}:{PORT}" for number in ("01", "02", "05"))
    seen = [task("gpu[01-02,05]", "1(x3)", 3, node) for node in ("gpu01", "gpu02", "gpu05")]
    assert seen == [Cluster(addresses, rank) for rank in range(3)]


def test_several_tasks_a_node_have_successive_ports_and_meet_at_the_next(task):
    addresses = (f"n1:{PORT}", f"n1:{PORT + 1}", f"n2:{PORT}")
    places = [("n1", 0), ("n1", 1), ("n2", 0)]
    seen = [task("n[1-2]", "2,1", 3, node, local) for node, local in places]
    assert seen == [Cluster(addresses, rank) for rank in range(3)]
    assert seen[0].meeting_port == PORT + 2


@pytest.mark.parametrize("number", ["0", "1"])
def test_each_task_has_the_rank_of_its_own_address_however_slurm_counts(task, number):
    # TensorFlow sorts n10 before n9; Slurm counts n9 first, or as --distribution says.
    for node in ("n9", "n10"):
        cluster = task("n[9-10]", "1(x2)", 2, node, SLURM_PROCID=number)
        assert cluster.addresses[cluster.rank] == f"{node}:{PORT}"


def test_jobs_with_successive_numbers_have_other_ports(task):
    first, second = (task("n[1-2]", "4(x2)", 8, "n1", SLURM_JOB_ID=job) for job in ("607", "608"))
    ports = [{int(a.split(":")[1]) for a in each.addresses} | {each.meeting_port} for each in (first, second)]
    assert not ports[0] & ports[1]


def test_tf_config_wins(task, monkeypatch):
    cluster = Cluster(("a:1", "b:2"), 1)
    assert task("n[1-2]", "1(x2)", 2, "n1", TF_CONFIG=cluster.tf_config) == cluster


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SLURM_STEP_NODELIST": None}, ["STEP_NODELIST"]),
        ({"SLURM_STEP_NODELIST": "n[1-2"}, ["hostlist"]),
        ({"SLURM_STEP_NODELIST": "n[1-2]-ib"}, ["hostlist"]),
        ({"SLURM_STEP_TASKS_PER_NODE": "1*2"}, ["tasks-per-node"]),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, ["Requested 2 tasks"]),
        ({"SLURM_PROCID": None}, ["PROCID"]),
        ({"SLURM_PROCID": "x"}, ["TensorFlow cannot use"]),
        ({"SLURM_JOB_ID": None}, ["SLURM_JOB_ID is not"]),
        ({"SLURM_LOCALID": "first"}, ["SLURM_LOCALID is 'first'"]),
        ({"SLURM_LOCALID": "1"}, ["contradict", f"n1:{PORT + 1}"]),
        ({"SLURMD_NODENAME": None}, ["SLURMD_NODENAME is not"]),
        ({"SLURMD_NODENAME": "n3"}, ["contradict", f"n3:{PORT}", f"n1:{PORT}, n2:{PORT}"]),
        ({"SLURM_STEP_NUM_TASKS": "two"}, ["SLURM_STEP_NUM_TASKS is 'two'"]),
    ],
)
def test_variables_that_cannot_be_used_are_refused_with_what_to_do(task, changes, words):
    with pytest.raises(UserError) as error:
        task("n[1-2]", "1(x2)", 2, "n1", **changes)
    for word in [*words, "TF_CONFIG"]:
        assert word in str(error.value)
