"""tf.train.Example without TensorFlow, under the field names of TensorFlow's own ImageNet scripts.

Records made elsewhere are read too: by those scripts, or by TensorFlow Datasets, whose names are fewer and shorter.

The message types are declared here, in a descriptor pool of their own: the default pool belongs to TensorFlow,
which registers the same names in processes that import both. Schema: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

# By TensorFlow's ImageNet scripts (and here), and by TensorFlow Datasets.
IMAGES = (b"image/encoded", b"image")
LABELS, FILENAMES = ("image/class/label", "label"), ("image/filename", "file_name")


class Malformed(Exception):
    """What is wrong with a serialised Example."""


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


class Described(NamedTuple):
    """What a record of any maker says of its image; empty where it says nothing."""

    label: int  # as it stands there: from 0 or from 1 on
    synset: str
    text: str
    filename: str


def describe(payload: bytes) -> Described:
    """The label and names of an image. Raises Malformed."""
    features = _features(payload)
    labels: list[int] = next((features[name].int64_list.value for name in LABELS if name in features), [])
    if len(labels) != 1:
        raise Malformed(f"it has no {' or '.join(LABELS)}")

    def text(*names: str) -> str:
        values: list[bytes] = next((features[name].bytes_list.value for name in names if name in features), [])
        return values[0].decode("utf-8", "surrogateescape") if values else ""

    return Described(labels[0], text("image/class/synset"), text("image/class/text"), text(*FILENAMES))


def decode(payload: bytes) -> LabelledImage:
    """The inverse of `encode`. Raises Malformed."""
    features = _features(payload)

    def value(name: str, kind: str) -> Any:
        values = getattr(features[name], kind).value if name in features else []
        if not values:
            raise Malformed(f"it has no {name}")
        return values[0]

    def text(name: str) -> str:
        return value(name, "bytes_list").decode("utf-8", "surrogateescape")

    return LabelledImage(
        value("image/encoded", "bytes_list"),
        text("image/format"),
        value("image/height", "int64_list"),
        value("image/width", "int64_list"),
        value("image/class/label", "int64_list"),
        text("image/class/synset"),
        text("image/class/text"),
        text("image/filename"),
    )


def _features(payload: bytes) -> Any:
    try:
        return _Example.FromString(payload).features.feature
    except DecodeError:
        raise Malformed("it is no tf.train.Example") from None


def encoded_image(payload: bytes) -> memoryview:
    """Only the image file of a serialised Example, in place: what a loader's worker needs of it.

    The message is walked by its wire format, for parsing it would copy the image twice. Raises Malformed.
    """
    try:
        position, end = _content(payload, 0, len(payload))  # Features
        while position < end:
            entry, entry_end = _content(payload, position, end)  # of its map: key, then value
            key, key_end = _content(payload, entry, entry_end)
            if payload[key:key_end] in IMAGES:
                value = _content(payload, key_end, entry_end)  # Feature, in it BytesList, in it the bytes
                start, end = _content(payload, *_content(payload, *value))
                return memoryview(payload)[start:end]
            position = entry_end
    except (IndexError, ValueError):
        raise Malformed("it is no tf.train.Example") from None
    raise Malformed("it has no image/encoded or image")


def _content(payload: bytes, position: int, end: int) -> tuple[int, int]:
    """Where the content of a message's next field lies, which must be of the kind that begins with a length."""
    if payload[position] & 7 != 2:
        raise ValueError("a field without a length")
    size, position = payload[position + 1], position + 2
    if size >= 0x80:  # a varint: 7 bits a byte, the least significant first
        size, shift = size & 0x7F, 7
        while True:
            byte = payload[position]
            size |= (byte & 0x7F) << shift
            shift, position = shift + 7, position + 1
            if byte < 0x80:
                break
    if position + size > end:
        raise ValueError("a field that goes beyond its message")
    return position, position + size


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
