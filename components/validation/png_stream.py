"""Whether a PNG's compressed stream holds every row: Pillow shows the missing ones as black and says nothing."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from components.validation.image_header import UndecodableError

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples of a pixel (ISO 15948, 11.2.2)."""

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of Adam7: first column, first row, steps of columns and rows (ISO 15948, 8.2)."""

STEP = 2**20
"""Bytes that are inflated at once; they are counted and dropped."""


def check_rows(data: bytes, parts: Iterable[bytes]) -> None:
    """Compare the inflated bytes with what the header states.

    Args:
        data: the file, with a valid header.
        parts: contents of the IDAT chunks in their order.

    Raises:
        UndecodableError: where the stream is broken, or holds fewer or more bytes.
    """
    expected, found = count_bytes(data), 0
    stream = zlib.decompressobj()
    try:
        for part in parts:
            waiting = part
            while waiting and found <= expected:
                found += len(stream.decompress(waiting, STEP))
                waiting = stream.unconsumed_tail
    except zlib.error as error:
        raise UndecodableError("corrupt", f"its compressed stream is broken ({error})") from error
    if found <= expected:
        found += len(stream.flush())
    if found != expected:
        kind = "fewer" if found < expected else "more"
        raise UndecodableError("corrupt", f"its rows hold {kind} bytes than its header states ({expected})")


def count_bytes(data: bytes) -> int:
    """Bytes of all filtered rows, as width, height, bits, colour type and interlacing state them."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    bits = data[24] * CHANNELS.get(data[25], 0)
    sizes = [(width, height)]
    if data[28]:
        sizes = [(-(-(width - x) // right), -(-(height - y) // down)) for x, y, right, down in PASSES]
    return sum(high * (1 + -(-wide * bits // 8)) for wide, high in sizes if wide > 0 and high > 0)
