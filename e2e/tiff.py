"""Reads the GeoTIFFs that the server writes, with the standard library alone.

It knows what is needed to judge them: little-endian TIFF and BigTIFF, tiles,
DEFLATE, the floating-point predictor, 32-bit floats. It shares no code with the
server, so that both can be wrong only in different ways.
"""

import array
import itertools
import math
import struct
import sys
import zlib

TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 11: "f", 12: "d", 13: "I", 16: "Q"}
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PREDICTOR = 256, 257, 258, 259, 277, 317
TILE_WIDTH, TILE_HEIGHT, OFFSETS, COUNTS, FORMAT, SUBFILE = 322, 323, 324, 325, 339, 254
SCALE, TIEPOINT, GEOKEYS, NODATA = 33550, 33922, 34735, 42113


class Image:
    """One image of the file: its tags and its pixels."""

    def __init__(self, data, tags):
        self.data, self.tags = data, tags
        self.width, self.height = tags[WIDTH][0], tags[HEIGHT][0]

    def one(self, tag, default=None):
        return self.tags.get(tag, (default,))[0]

    @property
    def epsg(self):
        keys = self.tags[GEOKEYS]
        found = {keys[i]: keys[i + 3] for i in range(4, len(keys), 4)}
        return found.get(3072) or found.get(2048)

    def rows(self):
        """The pixels, one array of floats for each row."""
        assert (self.one(BITS), self.one(FORMAT), self.one(SAMPLES, 1)) == (32, 3, 1), "not one band of 32-bit floats"
        assert self.one(COMPRESSION) in (8, 32946), "not DEFLATE"
        tw, th = self.one(TILE_WIDTH), self.one(TILE_HEIGHT)
        across = -(-self.width // tw)
        rows = [array.array("f") for _ in range(self.height)]
        for i, (offset, count) in enumerate(zip(self.tags[OFFSETS], self.tags[COUNTS], strict=True)):
            tile = zlib.decompress(self.data[offset : offset + count])
            assert len(tile) == tw * th * 4, f"tile {i} has {len(tile)} bytes"
            top, left = i // across * th, i % across * tw
            for y in range(min(th, self.height - top)):
                row = self.row(tile[y * tw * 4 : (y + 1) * tw * 4])
                rows[top + y].extend(row[: min(tw, self.width - left)])
        return rows

    def row(self, raw):
        if self.one(PREDICTOR, 1) == 3:
            raw = bytes(x & 255 for x in itertools.accumulate(raw))
            n = len(raw) // 4
            planes, raw = raw, bytearray(len(raw))
            for plane in range(4):  # the most significant bytes come first
                raw[3 - plane :: 4] = planes[plane * n : (plane + 1) * n]
        else:
            assert self.one(PREDICTOR, 1) == 1, "an unknown predictor"
        row = array.array("f", bytes(raw))
        if sys.byteorder == "big":
            row.byteswap()
        return row


def images(data):
    """The images of a file: the full one first, then its overviews."""
    assert data[:2] == b"II", "not a little-endian TIFF"
    big = struct.unpack_from("<H", data, 2)[0] == 43
    at = struct.unpack_from("<Q", data, 8)[0] if big else struct.unpack_from("<I", data, 4)[0]
    found = []
    while at:
        n = struct.unpack_from("<Q" if big else "<H", data, at)[0]
        at += 8 if big else 2
        tags = {}
        for _ in range(n):
            tag, kind, count = struct.unpack_from("<HHQ" if big else "<HHI", data, at)
            code = TYPES[kind]
            size, room = struct.calcsize("<" + code) * count, 8 if big else 4
            place = at + (12 if big else 8)
            if size > room:
                place = struct.unpack_from("<Q" if big else "<I", data, place)[0]
            tags[tag] = struct.unpack_from(f"<{count * len(code)}{code[0]}", data, place)
            at += 20 if big else 12
        found.append(Image(data, tags))
        at = struct.unpack_from("<Q" if big else "<I", data, at)[0]
    return found


def statistics(rows):
    """count, min, max and mean of the finite pixels."""
    count, low, high, sums = 0, math.inf, -math.inf, []
    for row in rows:
        values = [v for v in row if math.isfinite(v)]
        if values:
            count += len(values)
            low, high = min(low, min(values)), max(high, max(values))
            sums.append(math.fsum(values))
    return {"count": count, "min": low, "max": high, "mean": math.fsum(sums) / count}
