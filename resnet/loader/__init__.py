"""The input pipeline: sampler, views, transforms, worker processes, shared memory. Never imports TensorFlow."""
