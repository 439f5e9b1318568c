import pytest

from resnet.loader.messages import Filled, JobHeader, Setup
from resnet.loader.transforms import Augment, CenterCrop, CornerCrop, WholeScaled
from resnet.settings import Augmentation

TRANSFORMS = [
    CenterCrop(256),
    CornerCrop(256, "pillow-bicubic", True, False),
    WholeScaled(640, "opencv-linear"),
    Augment.of(Augmentation(crop="area", color=False), 224),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_setup_arrives_as_it_was_sent(transform):
    setup = Setup(["a/train-00000-of-00002", "ü"], 4, 256, 224, 2**63, [transform], True)
    assert Setup.unpack(setup.pack()) == setup


def test_a_job_arrives_as_it_was_sent():
    header = JobHeader(3, 64, 1 << 40, 1_281_166, 160)
    assert JobHeader.unpack(header.pack()) == header


def test_a_report_arrives_as_it_was_sent_and_an_empty_one_takes_no_bytes():
    filled = Filled(["a.jpg", "b.jpg"], [[1, "corrupt"]], 2, 3, [[0, 256, 341]])
    assert Filled.unpack(filled.pack()) == filled
    assert Filled().pack() == b""
    assert Filled.unpack(b"") == Filled()


def test_every_setting_of_augmentation_reaches_the_workers():
    of_the_step = {"mixup", "cutmix"}
    assert (
        set(Augment.of(Augmentation(), 224).__dict__) == {"image_size"} | set(Augmentation.model_fields) - of_the_step
    )
