"""From a data set's images to shards: the plan, the processes that write shards, and what came out."""
