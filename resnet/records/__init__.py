"""Records: images and labels in TFRecord shards, each with an index file for random access."""
