"""tf.train.Example without TensorFlow, with the field names of TensorFlow's ImageNet scripts.

Records made by those scripts or by TensorFlow Datasets, which has fewer and shorter names, can be read too.

The message types have a descriptor pool of their own: TensorFlow registers the same names in the default pool, and a
process may import both. Schema: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

# First the name in TensorFlow's ImageNet scripts, which this project writes, then the one in TensorFlow Datasets.
IMAGES = (b"image/encoded", b"image")
LABELS, FILENAMES = ("image/class/label", "label"), ("image/filename", "file_name")


class Malformed(Exception):
    """A serialised Example cannot be parsed, or lacks a feature; the message says which."""


class LabelledImage(NamedTuple):
    """One record's content."""

    encoded: bytes  # a JPEG or PNG file
    format: str  # "JPEG" or "PNG"
    height: int  # pixels
    width: int  # pixels
    label: int  # 0-based, in sorted order of the classes
    synset: str  # the class's identifier: a WordNet id, or the name of its folder
    text: str  # the class's readable name
    filename: str


def encode(image: LabelledImage) -> bytes:
    """Serialise the image as a tf.train.Example; equal images give equal bytes."""
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
    """What a record says about its image, whoever made it. Text that it lacks is empty."""

    label: int  # as in the record: counted from 0 or 1
    synset: str
    text: str
    filename: str


def describe(payload: bytes) -> Described:
    """Read an image's label and names. Raises Malformed if there is not exactly one label."""
    features = _features(payload)
    labels: list[int] = next((features[name].int64_list.value for name in LABELS if name in features), [])
    if len(labels) != 1:
        raise Malformed(f"it has no {' or '.join(LABELS)}")

    def text(*names: str) -> str:
        values: list[bytes] = next((features[name].bytes_list.value for name in names if name in features), [])
        return values[0].decode("utf-8", "surrogateescape") if values else ""

    return Described(labels[0], text("image/class/synset"), text("image/class/text"), text(*FILENAMES))


def decode(payload: bytes) -> LabelledImage:
    """Parse what `encode` wrote. Raises Malformed if a feature is missing."""
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
        raise Malformed("it is not a tf.train.Example") from None


def encoded_image(payload: bytes) -> memoryview:
    """The image file inside a serialised Example, as a view of `payload`. Raises Malformed.

    Loader workers need nothing else, and parsing the message would copy the image twice: hence this walk over the wire
    format.
    """
    try:
        position, end = _content(payload, 0, len(payload))  # Features
        while position < end:
            entry, entry_end = _content(payload, position, end)  # of the map: key, then value
            key, key_end = _content(payload, entry, entry_end)
            if payload[key:key_end] in IMAGES:
                value = _content(payload, key_end, entry_end)  # a Feature, which wraps a BytesList, which wraps bytes
                start, end = _content(payload, *_content(payload, *value))
                return memoryview(payload)[start:end]
            position = entry_end
    except (IndexError, ValueError):
        raise Malformed("it is not a tf.train.Example") from None
    raise Malformed("it has no image/encoded or image")


def _content(payload: bytes, position: int, end: int) -> tuple[int, int]:
    """Start and end of the next field's content. Raises ValueError if the field has no length or overruns `end`."""
    if payload[position] & 7 != 2:  # protobuf's wire type LEN
        raise ValueError("the field has no length")
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
        raise ValueError("the field overruns its message")
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
