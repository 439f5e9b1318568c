"""BatchNormStatistics: the plain average of the batch statistics over some training batches, after training."""

from __future__ import annotations

from dataclasses import replace

from resnet.devices import device_names, make_strategy, peak_gpu_memory
from resnet.ledger import Attempt
from resnet.model.network import network_of
from resnet.records.shards import ShardedRecords
from resnet.run import Run
from resnet.training.statistics import averaged_statistics, store
from resnet.weights.safetensors_files import load_weights, write_weights


def main(run: Run, attempt: Attempt) -> None:
    """Write the trained weights again, with averaged statistics."""
    attempt.begin()
    records = ShardedRecords(run.records, "train")
    one_device = replace(run.machine, cpu_devices=1)
    strategy = make_strategy(one_device, replicas=1, precision=run.recipe.training.precision)
    network = network_of(run.recipe, len(records.classes))
    load_weights(run.stage_folder("train") / "weights.safetensors", network)
    corrupt = attempt.ledger.finished("train").get("corrupt_records", [])
    [statistics] = averaged_statistics(run, records, network, [run.recipe.batchnorm.batches], corrupt)
    store(network, statistics)
    weights = write_weights(attempt.folder / "weights.safetensors", network, records.classes)
    seeds = {"training.seed": run.recipe.training.seed}
    attempt.finish([weights], gpu_memory=peak_gpu_memory(), devices=device_names(strategy), seeds=seeds)
