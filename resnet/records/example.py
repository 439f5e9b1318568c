"""tf.train.Example without TensorFlow, under the field names of TensorFlow's own ImageNet scripts.

The message types are declared here, in a descriptor pool of their own: the default pool belongs to TensorFlow,
which registers the same names in processes that import both. Schema: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


class LabelledImage(NamedTuple):
    """One record's content."""

    encoded: bytes  # a JPEG or PNG file
    format: str  # "JPEG" or "PNG"
    height: int
    width: int
    label: int  # 0-based, in sorted order of the classes
    synset: str  # the class's identifier: WordNet id, or the name of its folder
    text: str  # the class's name for people
    filename: str


def encode(image: LabelledImage) -> bytes:
    """The image as a serialised tf.train.Example."""
    example = _Example()
    features = example.features.feature
    features["image/encoded"].bytes_list.value.append(image.encoded)
    for name, text in (
        ("image/format", image.format),
        ("image/colorspace", "RGB"),
        ("image/class/synset", image.synset),
        ("image/class/text", image.text),
        ("image/filename", image.filename),
    ):
        features[name].bytes_list.value.append(text.encode("utf-8", "surrogateescape"))
    for name, number in (
        ("image/height", image.height),
        ("image/width", image.width),
        ("image/channels", 3),
        ("image/class/label", image.label),
    ):
        features[name].int64_list.value.append(number)
    return example.SerializeToString(deterministic=True)


def decode(payload: bytes) -> LabelledImage:
    """The inverse of `encode`."""
    features = _Example.FromString(payload).features.feature

    def text(name: str) -> str:
        return features[name].bytes_list.value[0].decode("utf-8", "surrogateescape")

    def number(name: str) -> int:
        return features[name].int64_list.value[0]

    return LabelledImage(
        features["image/encoded"].bytes_list.value[0],
        text("image/format"),
        number("image/height"),
        number("image/width"),
        number("image/class/label"),
        text("image/class/synset"),
        text("image/class/text"),
        text("image/filename"),
    )


def encoded_image(payload: bytes) -> bytes:
    """Only the image file of a serialised Example: what a loader's worker needs of it."""
    return _Example.FromString(payload).features.feature["image/encoded"].bytes_list.value[0]


def _declare() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="resnet/example.proto", package="tensorflow", syntax="proto3")

    def message(name: str, *fields: tuple, within: Any = file.message_type) -> Any:
        declared = within.add(name=name)
        for number, (field, kind, label, type_name) in enumerate(fields, start=1):
            declared.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
        return declared

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", ("value", kinds.TYPE_BYTES, many, None))
    message("FloatList", ("value", kinds.TYPE_FLOAT, many, None))
    message("Int64List", ("value", kinds.TYPE_INT64, many, None))
    feature = message(
        "Feature",
        ("bytes_list", kinds.TYPE_MESSAGE, one, ".tensorflow.BytesList"),
        ("float_list", kinds.TYPE_MESSAGE, one, ".tensorflow.FloatList"),
        ("int64_list", kinds.TYPE_MESSAGE, one, ".tensorflow.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", kinds.TYPE_MESSAGE, many, ".tensorflow.Features.FeatureEntry"))
    entry = message(
        "FeatureEntry",
        ("key", kinds.TYPE_STRING, one, None),
        ("value", kinds.TYPE_MESSAGE, one, ".tensorflow.Feature"),
        within=features.nested_type,
    )
    entry.options.map_entry = True
    message("Example", ("features", kinds.TYPE_MESSAGE, one, ".tensorflow.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_Example = _declare()
