"""Training on several hosts, as processes of this machine: what they write, how they stop, and what they say."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1] / "campaign"))

from hosts import SETTINGS, Trial, ended, kill_at, when

from resnet.errors import UserError
from resnet.files import sha256
from resnet.hosts.cluster import Cluster, free_loopback_cluster
from resnet.hosts.meeting import LOST_SECONDS, Alone
from resnet.provenance import code_digest
from resnet.run import Run
from resnet.stages import ledger_of, train
from resnet.stages.train import facts_of, require_shared


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Trial:
    return Trial(tmp_path_factory.mktemp("hosts") / "artifacts")


def test_interrupted_on_two_hosts_killed_on_two_and_ended_on_one_the_weights_are_those_of_one_device(trial):
    assert ended(trial.on_hosts("alone", 1, 1), 120)[0].code == 0

    hosts = trial.on_hosts("several", 2, 2)
    when(lambda: trial.step("several") >= 3, hosts)
    hosts[1].send_signal(signal.SIGTERM)
    chief, other = ended(hosts, 60)
    assert (chief.code, other.code) == (130, 130), chief.said + other.said
    assert "train was interrupted; the same command continues it" in chief.said

    survivor, _ = kill_at(trial, "several", step=13, victim=0)
    assert survivor.code == 75  # to be tried again
    assert "host 0 (127.0.0.1:" in survivor.said
    assert "Traceback" not in survivor.said

    assert ended(trial.on_hosts("several", 1, 3), 120)[0].code == 0
    assert trial.weights("several") == trial.weights("alone")
    assert trial.validated("several") == trial.validated("alone")


def test_a_port_in_use_on_one_host_is_said_on_all_of_them(trial):
    here, there = free_loopback_cluster(2)
    with socket.create_server(("127.0.0.1", int(there.addresses[1].rpartition(":")[2]))):
        hosts = [trial.call("train", "blocked", TF_CONFIG=each.tf_config) for each in (here, there)]
        for code, said in ended(hosts, 60):
            assert code == 1
            assert "of this machine, where TensorFlow would listen, is in use" in said
            assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (tf.errors.UnavailableError(None, None, "failed to connect"), 2 * LOST_SECONDS),
        (tf.errors.InvalidArgumentError(None, None, "Collective ops is aborted by: bad shape"), 2 * LOST_SECONDS),
        (tf.errors.InvalidArgumentError(None, None, "bad shape"), LOST_SECONDS),
    ],
)
def test_a_host_waits_longer_for_what_others_say_where_its_error_looks_like_theirs(error, seconds, monkeypatch):
    waited = []

    class Two(Alone):
        def verdict(self, seconds: float) -> None:
            waited.append(seconds)

    clusters = free_loopback_cluster(2)
    monkeypatch.setattr(train, "cluster_of", lambda environ: clusters[0])
    monkeypatch.setattr(train, "facts_of", lambda ledger, cluster: {})
    monkeypatch.setattr(train, "meet", lambda cluster, facts: Two(cluster))
    with pytest.raises(type(error)), train.met(ledger=None):
        raise error
    assert waited == [seconds]


def test_a_host_that_sees_another_folder_than_the_chief_says_so(tmp_path):
    with pytest.raises(UserError, match=r"begun\.json is not there: .* All hosts need the same --artifacts folder"):
        require_shared(tmp_path, "0" * 64)
    (tmp_path / "begun.json").write_text("{}")
    with pytest.raises(UserError, match=r"begun\.json is another one"):
        require_shared(tmp_path, "0" * 64)
    require_shared(tmp_path, sha256(tmp_path / "begun.json"))


def test_hosts_compare_recipe_records_software_and_devices(trial):
    run = Run.of("digits", SETTINGS, artifacts=trial.artifacts, name="alone")
    facts = facts_of(ledger_of(run), Cluster(("a:1", "b:1"), 0))
    assert facts["recipe.training.batch_size"] == "48"
    assert facts["records.digest"] == ledger_of(run).finished("convert")["digest"]
    assert facts["software.numpy"] == np.__version__
    assert {"software.Python", "software.this project's commit", "set of devices", "run"} <= set(facts)
    assert facts["software.the SHA-256 of this project's code"] == code_digest()


def test_hosts_with_another_recipe_all_say_which_setting_differs(trial):
    here, there = free_loopback_cluster(2)
    hosts = [
        trial.call("train", "differing", TF_CONFIG=here.tf_config),
        trial.call("train", "differing", "--override=training.learning_rate=0.05", TF_CONFIG=there.tf_config),
    ]
    for code, said in ended(hosts, 60):
        assert code == 1
        assert "host 1 (127.0.0.1:" in said
        assert "differs in recipe: training.learning_rate is 0.05 there, and 0.1 on host 0" in said
        assert "Traceback" not in said
