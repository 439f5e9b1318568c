"""What kind of image a file is, by its name and by its first bytes."""

from __future__ import annotations

import re

# Also kinds that OpenCV may not read: such a file is an image, and conversion must say that it cannot be read.
SUFFIXES = frozenset(
    f".{suffix}"
    for line in (
        "jpg jpeg jpe jfif png apng webp bmp dib gif tif tiff jp2 j2k jpx jpf jxl avif avifs heic heif",
        "ppm pgm pbm pnm pam pfm hdr exr ras tga psd dng cr2 cr3 nef arw orf rw2",
    )
    for suffix in line.split()
)
SIGNATURES = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("WebP", rb"RIFF....WEBP"),
    ("BMP", rb"BM.{4}.{8}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),  # "BM" alone may begin a text
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("JPEG XL", rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a"),
    ("AVIF", rb"....ftypavi[fs]"),
    ("HEIF", rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)"),
    ("PNM", rb"P[1-6Ff]\s+(?:#|\d)|P7\s+(?:#|WIDTH|HEIGHT|DEPTH)"),
    ("HDR", rb"#\?(?:RADIANCE|RGBE)\s"),
    ("OpenEXR", rb"\x76\x2f\x31\x01"),
    ("Sun raster", rb"\x59\xa6\x6a\x95"),
    ("Photoshop", rb"8BPS\0"),
)
HEAD = 64  # bytes, enough for every signature
_KIND = re.compile(b"|".join(b"(%b)" % pattern for _, pattern in SIGNATURES), re.DOTALL)


def kind_of(encoded: bytes) -> str:
    """The kind of image that begins with these bytes; empty if it is none that is known."""
    found = _KIND.match(encoded[:HEAD])
    return SIGNATURES[found.lastindex - 1][0] if found and found.lastindex else ""
