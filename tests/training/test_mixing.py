"""Images mixed on their device are those that NumPy mixes, within each replica."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.loader.mixing import Mixer, kept
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.gradients import Gradients
from resnet.training.losses import Loss
from resnet.training.mixing import mixed

SIZE, REPLICAS, OF_REPLICA = 16, 3, 4
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (REPLICAS * OF_REPLICA, SIZE, SIZE, 3), np.uint8)
LABELS = RANDOM.integers(0, 10, REPLICAS * OF_REPLICA).astype(np.int32)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_each_image_is_mixed_with_the_one_before_it_in_its_replica(mixup, cutmix):
    mixes = Mixer(mixup, cutmix, 3, REPLICAS)(0, SIZE)
    found = mixed(tf.constant(IMAGES), tf.constant(LABELS), tf.constant(mixes))
    for row in range(len(IMAGES)):
        replica, place = divmod(row, OF_REPLICA)
        partner = replica * OF_REPLICA + (place - 1) % OF_REPLICA
        share = kept(mixes[replica], SIZE)[..., None]
        expected = share * IMAGES[row] + (1 - share) * IMAGES[partner]
        np.testing.assert_allclose(found.images[row], expected, atol=1e-3)
        assert found.partners[row] == LABELS[partner]
        assert float(found.shares[row]) == pytest.approx(share.mean(), abs=1e-6)


def test_the_loss_and_the_errors_of_a_step_are_those_of_the_mixed_images():
    training = Training(batch_size=4, replica_batch_size=4, label_smoothing=0.1)
    network, loss = ResNet(8, 10), Loss(training)
    gradients = Gradients(network, 1, training, loss)
    for step in range(4):
        mixes = Mixer(0.4, 1.0, 0, 1)(step, SIZE)
        images, partners, shares = mixed(tf.constant(IMAGES[:4]), tf.constant(LABELS[:4]), tf.constant(mixes))
        logits, _ = network(images, training=True)
        share = shares.numpy()[:, None]
        asked = share * np.eye(10)[LABELS[:4]] + (1 - share) * np.eye(10)[partners.numpy()]
        expected = -(tf.nn.log_softmax(logits) * (0.9 * asked + 0.01).astype(np.float32)).numpy().sum(1).mean()
        found = gradients(tf.constant(IMAGES[:4]), tf.constant(LABELS[:4]), tf.constant(1.0), tf.constant(mixes))
        assert found[-1][0].numpy() == pytest.approx(expected, rel=1e-5)
        greater = asked.argmax(1)
        assert found[-1][1].numpy() == pytest.approx(100 * (logits.numpy().argmax(1) != greater).mean(), abs=1e-4)
