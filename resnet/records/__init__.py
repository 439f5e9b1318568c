"""Records: images and labels in TFRecord shards, each with a sidecar index for random access."""
