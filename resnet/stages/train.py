"""Train: records to trained weights, resumed from the newest checkpoint where there is one.

Several hosts train together: the chief runs `main`, the others `assist`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from resnet.devices import (
    device_names,
    devices_in_words,
    gpu_memory,
    make_strategy,
    peak_gpu_memory,
)
from resnet.errors import Passing, UserError
from resnet.files import sha256
from resnet.hosts.cluster import Cluster, cluster_of, require_own_port
from resnet.hosts.meeting import LOST_SECONDS, Meeting
from resnet.hosts.roll_call import meet
from resnet.inference import Predictor
from resnet.ledger import Attempt, Ledger
from resnet.loader.batches import block, training_batches
from resnet.loader.loader import Loader
from resnet.loader.mixing import Mixer
from resnet.loader.sampler import Share
from resnet.model.network import network_of
from resnet.progress import be_silent
from resnet.provenance import code_digest, provenance
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.stages.pieces import Pieces, explained, opening_line
from resnet.training.best_weights import BestWeights
from resnet.training.checkpoints import Checkpoints, ChiefsCheckpoints
from resnet.training.checks import look_at_memory, require_trainable
from resnet.training.corrupt_records import CorruptRecords
from resnet.training.interruption import Interruption
from resnet.training.log import NoLog, TrainingLog
from resnet.training.loop import OnStep, OnValidation, TrainingLoop, never, nothing
from resnet.training.losses import class_weights
from resnet.training.micro_batch import replicas_at_once
from resnet.training.page_locking import page_locked
from resnet.training.pulse import NotFinite, Pulse
from resnet.training.saving_on_demand import SavingOnDemand
from resnet.training.schedule import Schedule
from resnet.training.start import take_layers
from resnet.training.step import TrainStep
from resnet.training.validation import Validation
from resnet.weights.safetensors_files import digest_of, write_weights
from resnet.weights.sources import read_source, require_settings

logger = logging.getLogger(__name__)

ABORTS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)
DRAWING_SECONDS = 120.0  # that the chief may take to draw a batch
BEST = "best.safetensors"  # the weights of the epoch with the lowest validation error
BEGUN = "begun.json"  # in the stage's folder: see `resnet.ledger`


class Actions(NamedTuple):
    """What else happens: see `TrainingLoop.run`."""

    on_epoch: OnStep = nothing
    on_validation: OnValidation = nothing
    is_asked_to_save: Callable[[], bool] = never


NOTHING_ELSE = Actions()


def main(run: Run, attempt: Attempt) -> None:
    """Build the pieces, train, and write the weights. Of several hosts, the chief does this."""
    with met(attempt.ledger) as meeting:
        attempt.begin()
        pieces = build(run, meeting)
        checkpoints = Checkpoints(attempt.folder / "checkpoints", pieces.network, pieces.step.state)
        first = checkpoints.restore_newest()
        checkpoints.require_space(first, pieces.schedule)
        lengthened_from = attempt.begun.get("lengthened_from", [])
        print(opening_line(pieces, meeting.cluster.hosts, first, lengthened_from), flush=True)
        if not first:
            checkpoints.started_from = start(attempt.ledger, pieces, attempt.begun)
        with TrainingLog(attempt.folder, first) as log:
            if meeting.cluster.hosts > 1:
                meeting.from_chief([first, log.is_validated, sha256(attempt.folder / BEGUN)])
                agree_on_state(meeting, checkpoints)
            log.board.settings(run.recipe, run.name)
            if not first:
                log.board.augmented(run.recipe, pieces.records)
            with SavingOnDemand() as saving:
                more = actions(run, attempt, pieces, log)._replace(is_asked_to_save=saving.taken)
                train(run, meeting, pieces, checkpoints, log, first, more)
        finish(attempt, pieces, checkpoints, meeting.cluster.hosts)
        meeting.from_chief("finished")


def assist(run: Run, ledger: Ledger) -> None:
    """Train on another host than the chief's: the same steps, on its share of each batch. It writes nothing, and says
    nothing but what is wrong."""
    logging.getLogger("resnet").setLevel(logging.WARNING)
    be_silent()
    with met(ledger) as meeting:
        pieces = build(run, meeting)
        folder = run.stage_folder("train")
        checkpoints = ChiefsCheckpoints(folder / "checkpoints", pieces.network, pieces.step.state)
        first, is_validated, begun = meeting.from_chief(None)
        require_shared(folder, begun)
        if first:
            checkpoints.restore(first)
        else:
            start(ledger, pieces)
        agree_on_state(meeting, checkpoints)
        train(run, meeting, pieces, checkpoints, NoLog(is_validated), first)
        meeting.from_chief(None)  # so that a chief that cannot finish ends all hosts, which then start again together


@contextlib.contextmanager
def met(ledger: Ledger) -> Iterator[Meeting]:
    """The hosts that train together, once they have compared what they are about to do.

    Where TensorFlow fails because another host is lost, the error says so.
    """
    cluster = cluster_of(os.environ)
    with meet(cluster, facts_of(ledger, cluster) if cluster.hosts > 1 else {}) as meeting:
        try:
            yield meeting
        except tf.errors.OpError as error:
            if cluster.hosts > 1:
                logger.warning("%s; looking whether another host is the reason", error.message.splitlines()[0])
            # A host whose own error it is waits less, so that it fails first and the others hear why.
            if known := meeting.verdict(2 * LOST_SECONDS if is_of_another(error) else LOST_SECONDS):
                raise known from None
            if cluster.hosts == 1 and isinstance(error, ABORTS):  # as where a GPU is taken away
                raise Passing(f"TensorFlow stopped: {error.message.splitlines()[0]}") from None
            raise


def is_of_another(error: tf.errors.OpError) -> bool:
    """Whether an error of TensorFlow looks as if another host had one: it then aborts what all do together."""
    return isinstance(error, ABORTS) or "Collective ops is aborted" in error.message


def require_shared(folder: Path, digest: str) -> None:
    """Raise UserError unless this host sees the chief's begun.json, of this digest, in the stage's folder."""
    begun = folder / BEGUN
    names = os.listdir(folder)  # NFS remembers for a while that a file was not there, until the folder is read again
    if BEGUN not in names or sha256(begun) != digest:
        raise UserError(
            f"{begun} is {'another one' if BEGUN in names else 'not there'}: this is not the folder that host 0 writes "
            "to. All hosts need the same --artifacts folder, on a disk that they share."
        )


def agree_on_state(meeting: Meeting, checkpoints: Checkpoints) -> None:
    """Raise UserError where another host begins with other weights."""
    meeting.agree({"state of the network": digest_of(checkpoints.variables)})


def facts_of(ledger: Ledger, cluster: Cluster) -> dict[str, str]:
    """What all hosts must agree on: recipe, records, software and devices."""
    identity, software, machine = ledger.identity("train"), provenance(), ledger.run.machine
    facts = {
        f"recipe.{section}.{name}": value
        for section, values in identity["settings"].items()
        for name, value in values.items()
    }
    names = {"convert": "records"}
    facts |= {f"{names.get(name, name)}.digest": digest for name, digest in identity["inputs"].items()}
    facts |= {f"software.{name}": version for name, version in software["packages"].items()}
    facts |= {"software.Python": software["python"], "software.this project's commit": software["git_commit"]}
    facts |= {"software.the SHA-256 of this project's code": code_digest()}
    facts |= {"run": ledger.run.name, "set of devices": devices_in_words(machine, cluster)}
    facts |= {"machine settings.replicas_at_once": str(machine.replicas_at_once)}
    return {name: str(value) for name, value in facts.items()}


def build(run: Run, meeting: Meeting) -> Pieces:
    """The recipe's network and training step, on the devices of the hosts."""
    records, training = ShardedRecords(run.records, "train"), run.recipe.training
    require_trainable(records, ShardedRecords(run.records, "validation"), training, meeting.cluster.is_chief)
    training.require_even_shares(meeting.cluster.hosts)
    weights = class_weights(training, records.index["label"], len(records.classes))
    require_own_port(meeting.cluster)
    meeting.come_together()  # nothing that is likely to fail may come between this and TensorFlow's own roll call
    strategy = make_strategy(
        run.machine,
        training.replicas,
        precision=training.precision,
        deterministic=training.deterministic,
        cluster=meeting.cluster,
    )
    with strategy.scope():
        network = network_of(run.recipe, len(records.classes))
        devices, wanted = strategy.num_replicas_in_sync, run.machine.replicas_at_once
        at_once = replicas_at_once(network, run.recipe.model.image_size, training, devices, gpu_memory, wanted)
        if meeting.cluster.is_chief:
            look_at_memory(network, run.recipe.model.image_size, training, at_once, devices, gpu_memory())
        mixer = Mixer.of(run.recipe, Share(meeting.cluster.rank, meeting.cluster.hosts))
        step = TrainStep(network, strategy, training, at_once, weights, mixer)
    return Pieces(records, strategy, network, step, Schedule(training, len(records)))


def train(
    run: Run,
    meeting: Meeting,
    pieces: Pieces,
    checkpoints: Checkpoints,
    log: TrainingLog,
    first: int,
    actions: Actions = NOTHING_ELSE,
) -> None:
    """Train from the first step on, to the end of the schedule."""
    records, strategy, network, step, schedule = pieces
    predictor = Predictor(network, strategy, block(ShardedRecords(run.records, "validation")))
    with (
        Interruption(meeting.request_stop),
        batches_between(first, schedule.steps, run, records, checkpoints.corrupt, meeting) as loader,
        page_locked_for_gpus(loader.memory),
        Validation(run, predictor, meeting) as validation,
    ):
        checkpoints.corrupt = corrupt = CorruptRecords(loader, meeting, run.recipe.records.max_corrupt)
        stacks = run.stage_folder("train") / f"stalled-stacks{meeting.cluster.rank or ''}.txt"
        pulse = Pulse(step.metrics, stacks, 60 * run.machine.step_minutes, meeting.request_stop)
        loop = TrainingLoop(run.recipe.training, schedule, step, validation, checkpoints, log, meeting, pulse, first)
        try:
            loop.run(corrupt.reported(), *actions)
        except NotFinite as error:
            # The others wait for the chief, which draws: it would be ended if they left before.
            said_by_chief = None if meeting.cluster.is_chief else meeting.verdict(DRAWING_SECONDS)
            raise said_by_chief or UserError(explained(error, run, meeting, checkpoints)) from None


def actions(run: Run, attempt: Attempt, pieces: Pieces, log: TrainingLog) -> Actions:
    """What the chief does."""

    def on_epoch(step: int) -> None:
        log.board.weights(step, pieces.network.named_variables())
        attempt.on_news()

    if not run.recipe.training.keep_best:
        return Actions(on_epoch)
    return Actions(on_epoch, BestWeights(attempt.folder / BEST, pieces.network, pieces.records.classes).offer)


def batches_between(
    first: int, last: int, run: Run, records: ShardedRecords, corrupt: Iterable[str], meeting: Meeting
) -> Loader:
    """This host's share of the batches of these steps; the stream ends early where the hosts stop."""
    share = Share(meeting.cluster.rank, meeting.cluster.hosts)
    workers = run.machine.workers
    return training_batches(run.recipe, records, workers, first, last, list(corrupt), lambda: meeting.is_at_end, share)


def finish(attempt: Attempt, pieces: Pieces, checkpoints: Checkpoints, hosts: int) -> None:
    """Write the weights, and stage.json."""
    network = pieces.network
    with pieces.step.averaged():
        weights = write_weights(attempt.folder / "weights.safetensors", network, pieces.records.classes)
    log, best = attempt.folder / "log.jsonl", attempt.folder / BEST
    if not attempt.ledger.run.recipe.training.keep_best:
        best.unlink(missing_ok=True)  # of a time when it was asked for
    facts: dict[str, Any] = {"started_from": checkpoints.started_from} if checkpoints.started_from else {}
    facts |= {"hosts": hosts} if hosts > 1 else {}
    at_once = pieces.step.replicas_at_once
    facts |= {"replicas_at_once": at_once} if at_once > 1 else {}
    attempt.finish(
        [weights],
        byproducts=[path for path in (log, best) if path.exists()],  # a full disk may have had no room for them
        gpu_memory=peak_gpu_memory(),
        devices=device_names(pieces.strategy) * hosts,
        seeds={"training.seed": attempt.ledger.run.recipe.training.seed},
        corrupt_records=list(checkpoints.corrupt),
        parameters=network.parameters,
        **facts,
    )


def page_locked_for_gpus(memory: np.ndarray) -> contextlib.AbstractContextManager:
    """Lock the loader's memory where there are GPUs, which copy from it by themselves."""
    return page_locked(memory) if tf.config.list_logical_devices("GPU") else contextlib.nullcontext()


def start(ledger: Ledger, pieces: Pieces, begun: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Take the layers of the trained weights; returns the facts for stage.json, none where the weights are random.

    `begun`: what the chief's attempt has noted of them. It says what is taken; the other hosts do not. Raises
    UserError.
    """
    if not (point := ledger.starting_point):
        return {}
    source = read_source(point.file)
    if begun is not None:
        point.require_same(source.sha256, begun)
    require_settings(source, ledger.run.recipe.model)
    started = take_layers(source, pieces.network, pieces.records.classes)
    lines = [f"starting from {point} ({source.layout})", f"taken: {', '.join(started.taken)}"]
    lines.append(f"classifier: {'new' if started.new else 'taken'}, {started.reason}")
    for line in lines if begun is not None else ():
        print(textwrap.fill(f"train: {line}", 80, subsequent_indent="       "), flush=True)
    place = {"run": point.run} if point.run else {"file": str(point.file)}
    return place | {"sha256": source.sha256, "layout": source.layout, "taken": started.taken, "new": started.new}
