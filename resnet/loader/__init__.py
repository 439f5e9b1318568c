"""The input pipeline: order, augmentation, worker processes, shared memory. Never imports TensorFlow."""
