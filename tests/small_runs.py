"""Settings of a run on photographs that takes seconds."""

SMALL = (
    "model.depth=8",
    "model.image_size=16",
    "evaluation.shorter_side=20",
    "records.train_shards=2",
    "records.validation_shards=1",
    "training.epochs=2",
    "training.warmup_epochs=0",
    "training.batch_size=16",
    "training.replica_batch_size=8",
    "batchnorm.batches=2",
)
