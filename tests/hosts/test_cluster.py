"""Who takes part, from the environment."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet.errors import UserError
from resnet.hosts import cluster as cluster_module
from resnet.hosts.cluster import Cluster, cluster_of, free_loopback_cluster, own_gpus

NAMES = st.sampled_from(["cluster", "task", "worker", "chief", "type", "index"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(), inner),
)
PAIR = {"worker": ["a:1", "b:2"]}


def tf_config(cluster: object = PAIR, kind: object = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def of(text: str) -> Cluster:
    return cluster_of({"TF_CONFIG": text})


def test_without_any_variable_there_is_one_host():
    assert cluster_of({}).hosts == 1
    assert cluster_of({"TF_CONFIG": "", "SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}).is_chief


def test_the_first_of_the_workers_is_the_chief():
    assert of(tf_config()) == Cluster(("a:1", "b:2"), 0)
    assert of(tf_config()).is_chief
    assert not of(tf_config(index=1)).is_chief


def test_a_chief_that_is_called_so_comes_before_the_workers():
    jobs = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    assert of(tf_config(jobs, "chief")) == Cluster(("a:1", "b:2", "c:3"), 0)
    assert of(tf_config(jobs, "worker", 1)) == Cluster(("a:1", "b:2", "c:3"), 2)


def test_an_index_that_a_shell_has_written_as_text_is_taken():
    assert of(tf_config(index="1")).rank == 1


def test_tf_config_wins_over_slurm():
    slurm = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}
    assert cluster_of({"TF_CONFIG": tf_config(index=1), **slurm}) == Cluster(("a:1", "b:2"), 1)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 65_535), min_size=2, max_size=5, unique=True), st.data())
def test_what_a_cluster_hands_to_tensorflow_describes_the_same_cluster(ports, data):
    cluster = Cluster(tuple(f"n:{port}" for port in ports), data.draw(st.integers(0, len(ports) - 1)))
    assert of(cluster.tf_config) == cluster


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["is not JSON"]),
        ("[" * 100_000, ["is not JSON"]),
        ("[]", ['no "cluster"']),
        ("{}", ['no "cluster"']),
        (tf_config({}), ['no "cluster"']),
        (tf_config({"worker": []}), ["no workers"]),
        (tf_config({"worker": {"0": "a:1"}}), ['no list of addresses for "worker"']),
        (tf_config(PAIR | {"ps": ["c:3"]}), ["job 'ps'", "only workers"]),
        (tf_config(PAIR | {"evaluator": ["c:3"]}, "evaluator"), ["job 'evaluator'"]),
        (tf_config(PAIR | {"chief": ["c:3", "d:4"]}), ["2 chiefs"]),
        (tf_config(PAIR | {"chief": []}), ["0 chiefs"]),
        (tf_config(PAIR | {"chief": ["a:1"]}), ["a:1 twice"]),
        (tf_config({"worker": ["a:1", "a"]}), ['address "a"', "host:port"]),
        (tf_config({"worker": ["a:1", ":2"]}), ['address ":2"']),
        (tf_config({"worker": ["a:1", "b:70000"]}), ['address "b:70000"']),
        (tf_config({"worker": ["a:1", "b:0"]}), ['address "b:0"']),
        (tf_config({"worker": ["a:1", 2]}), ["address 2"]),
        (tf_config({"worker": ["a:1", "http://b:2"]}), ['address "http://b:2"']),
        (tf_config({"worker": ["a:1", "b c:2"]}), ['address "b c:2"']),
        (json.dumps({"cluster": PAIR}), ['no "task"']),
        (tf_config(kind="chief"), ['no "task" whose "type" is worker']),
        (tf_config(kind=["worker"]), ['no "task" whose "type" is worker']),
        (tf_config(index=None), ['no "index"']),
        (tf_config(index=True), ['no "index"']),
        (tf_config(index="first"), ['no "index"']),
        (tf_config(index=2), ["index 2", "2 addresses"]),
        (tf_config(index=-1), ["index -1"]),
    ],
)
def test_a_tf_config_that_cannot_be_used_is_refused_with_its_reason(text, words):
    with pytest.raises(UserError) as error:
        of(text)
    for word in ["the environment variable TF_CONFIG", *words, "unset it"]:
        assert word in str(error.value)


@settings(max_examples=50)
@given(JSON)
def test_no_json_at_all_makes_anything_but_a_cluster_or_one_message(config):
    try:
        assert of(json.dumps(config)).hosts >= 1
    except UserError:
        pass


@pytest.mark.parametrize(
    ("addresses", "port"),
    [
        (["a:8888", "b:8888"], 8889),
        (["a:8888", "a:8889", "b:8888"], 8890),
        (["a:65535", "a:65534"], 65_533),
        (["[::1]:5", "[::1]:6"], 7),
    ],
)
def test_the_hosts_meet_at_a_port_that_none_of_them_has(addresses, port):
    assert Cluster(tuple(addresses), 1).meeting_port == port


def test_a_host_alone_on_its_machine_has_all_gpus():
    assert own_gpus(Cluster(("a:1", "b:1"), 1), 4, {}) == range(4)


def test_hosts_on_one_machine_divide_its_gpus():
    addresses = ("a:1", "b:1", "a:2", "b:2")
    assert [own_gpus(Cluster(addresses, rank), 5, {}) for rank in range(4)] == [
        range(2),
        range(2),
        range(2, 4),
        range(2, 4),
    ]


@pytest.mark.parametrize(
    "variable", ["SLURM_GPUS_PER_TASK=1", "SLURM_GPU_BIND=single:1", "SLURM_TRES_PER_TASK=cpu=4,gres/gpu=1"]
)
def test_gpus_that_slurm_has_divided_are_not_divided_again(variable):
    environ = dict([variable.split("=", 1)])
    assert own_gpus(Cluster(("a:1", "a:2"), 1), 1, environ) == range(1)
    assert own_gpus(Cluster(("a:1", "a:2"), 1), 2, {"SLURM_GPU_BIND": "none"}) == range(1, 2)


def test_without_gpus_there_is_nothing_to_divide_and_fewer_than_processes_are_refused():
    assert own_gpus(Cluster(("a:1", "a:2"), 1), 0, {}) == range(0)
    with pytest.raises(UserError, match="2 hosts are processes of the machine a, which has 1 GPUs"):
        own_gpus(Cluster(("a:1", "a:2"), 1), 1, {})


def test_a_cluster_on_this_machine_has_free_ports_for_all_its_hosts_and_their_meeting():
    clusters = free_loopback_cluster(3)
    assert [cluster.rank for cluster in clusters] == [0, 1, 2]
    assert len({cluster.addresses for cluster in clusters}) == 1
    ports = [int(address.removeprefix("127.0.0.1:")) for address in clusters[0].addresses]
    sockets = [socket.create_server(("127.0.0.1", port)) for port in (*ports, clusters[0].meeting_port)]
    assert not any(cluster_module._is_free(port) for port in ports)
    for each in sockets:
        each.close()


def test_a_machine_without_free_ports_is_an_error(monkeypatch):
    monkeypatch.setattr(cluster_module, "_is_free", lambda port: False)
    with pytest.raises(UserError, match="no 3 successive ports between"):
        free_loopback_cluster(2)
