"""Mixes the images of a micro-batch on their device: see `resnet.loader.mixing`."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Mixed(NamedTuple):
    """Images that show two labels each."""

    images: tf.Tensor  # float32 [n, size, size, 3], 0 to 255
    partners: tf.Tensor  # the other labels, int32 [n]
    shares: tf.Tensor  # what the images' own labels count for, float32 [n]


def mixed(images: tf.Tensor, labels: tf.Tensor, mixes: tf.Tensor) -> Mixed:
    """Mix uint8 images [n, size, size, 3] of one or several replicas, each with the one before it, by the mix of their
    replica: float32 [replicas, 5]. The partner of a replica's first image is its last."""
    shares = tf.reduce_mean(_kept(mixes, images), [1, 2])
    return Mixed(mixed_images(images, mixes), _before(labels, mixes.shape[0]), shares)


def mixed_images(images: tf.Tensor, mixes: tf.Tensor) -> tf.Tensor:
    """Likewise the images alone."""
    whole, kept = tf.cast(images, tf.float32), _kept(mixes, images)[..., None]
    return whole * kept + _before(whole, mixes.shape[0]) * (1 - kept)


def _kept(mixes: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """How much of itself each image keeps at each pixel: float32 [n, size, size]."""
    share, top, left, bottom, right = [number[:, None, None] for number in tf.unstack(mixes, axis=1)]
    places = tf.range(images.shape[1], dtype=tf.float32)
    y, x = places[:, None], places
    is_outside = (y < top) | (y >= bottom) | (x < left) | (x >= right)
    return tf.repeat(share * tf.cast(is_outside, tf.float32), images.shape[0] // mixes.shape[0], axis=0)


def _before(rows: tf.Tensor, replicas: int) -> tf.Tensor:
    """The row before each, in each replica; before its first row comes its last."""
    grouped = tf.reshape(rows, [replicas, -1, *rows.shape[1:]])
    return tf.reshape(tf.roll(grouped, 1, 1), rows.shape)
