#!/usr/bin/env python3
"""Makes the pictures of this folder and, in expected/, what they show. Needs Pillow and NumPy.

Each picture is of one format and feature; expected/NAME.png is plain 8-bit grey or colour, upright, over white.
The .jxl files were made from the PNGs here by cjxl 0.7 (-d 0; lossy.jxl by -d 1),
and show what those show, and lossy.jxl what djxl 0.7 makes of it.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 22, 14


def base():
    """Smooth, with a disc and an edge, and no symmetry."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    red = 30 + 200 * x / WIDTH
    green = 220 - 180 * y / HEIGHT
    blue = 128 + 90 * np.sin(x / 5) * np.cos(y / 4)
    picture = np.stack([red, green, blue], -1)
    picture[(x - 6) ** 2 + (y - 5) ** 2 < 9] = [240, 60, 40]
    picture[11:, :4] = [20, 30, 160]
    return picture.round().astype(np.uint8)


RGB = base()
GREY = (RGB @ np.array([0.2126, 0.7152, 0.0722])).round().astype(np.uint8)
ALPHA = np.clip(np.add.outer(np.arange(HEIGHT) * 12, np.arange(WIDTH) * 9) - 20, 0, 255).astype(np.uint8)


def over_white(colour, alpha):
    alpha = alpha.astype(float)
    alpha = alpha[..., None] if colour.ndim == 3 else alpha
    return np.floor((colour * alpha + 255 * (255 - alpha)) / 255 + 0.5).astype(np.uint8)


def keep(name, data, expected):
    assert len(data) < 2048, (name, len(data))
    (HERE / name).write_bytes(data)
    Image.fromarray(np.asarray(expected)).save(HERE / "expected" / f"{name}.png", optimize=True)


def saved(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def opened(data, mode):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(mode))


colour, grey = Image.fromarray(RGB), Image.fromarray(GREY)
rgba, la = Image.fromarray(np.dstack([RGB, ALPHA])), Image.merge("LA", [grey, Image.fromarray(ALPHA)])

# JPEG: what libjpeg makes of them.
for name, picture, options in [
    ("grey", grey, {}),
    ("444", colour, {"subsampling": "4:4:4"}),
    ("422", colour, {"subsampling": "4:2:2"}),
    ("420", colour, {"subsampling": "4:2:0"}),
    ("rgb", colour, {"keep_rgb": True}),
    ("optimised", colour, {"optimize": True}),
    ("restarts", colour, {"subsampling": "4:2:0", "restart_marker_blocks": 1}),
    ("progressive", colour, {"progressive": True, "subsampling": "4:2:0"}),
    ("progressive-grey", grey, {"progressive": True}),
    ("progressive-restarts", colour, {"progressive": True, "restart_marker_blocks": 2}),
    ("cmyk", colour.convert("CMYK"), {}),
]:
    data = saved(picture, "JPEG", quality=90, **options)
    keep(f"{name}.jpg", data, opened(data, "L" if picture is grey else "RGB"))
# YCCK: luma, chroma and black where ink would be, and the mark that says so.
inks = Image.merge("CMYK", [*colour.convert("YCbCr").split(), Image.fromarray(255 - GREY // 4)])
data = bytearray(saved(inks, "JPEG", quality=90))
data[data.index(b"Adobe") + 11] = 2
keep("ycck.jpg", bytes(data), opened(bytes(data), "RGB"))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(colour, "JPEG", quality=90, subsampling="4:4:4", exif=exif)
    keep(f"turned-{orientation}.jpg", data, opened(data, "RGB"))


# PNG: exact. Some kinds are written here, as Pillow does not write them.
def png(width, height, bits, kind, rows, interlaced=False, extra=()):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    for name, body in extra:
        out += chunk(name, body)
    return out + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def lines(samples):
    return b"".join(b"\0" + row.tobytes() for row in samples)


keep("grey.png", saved(grey, "PNG"), GREY)
keep("rgb.png", saved(colour, "PNG", optimize=True), RGB)
keep("rgba.png", saved(rgba, "PNG", optimize=True), over_white(RGB, ALPHA))
keep("grey-alpha.png", saved(la, "PNG", optimize=True), over_white(GREY, ALPHA))
keep("one-bit.png", saved(grey.point(lambda v: 255 * (v > 110), "1"), "PNG"), np.where(GREY > 110, 255, 0).astype(np.uint8))
palette = colour.quantize(16, dither=Image.Dither.NONE)
colours = np.asarray(palette.convert("RGB"))
keep("palette.png", saved(palette, "PNG"), colours)
see_through = np.asarray(palette) == 3
data = saved(palette, "PNG", transparency=3)
keep("palette-transparent.png", data, over_white(colours, np.where(see_through, 0, 255)))
wide = GREY.astype(np.uint16) * 257 + np.arange(WIDTH, dtype=np.uint16) * 5
keep("grey16.png", saved(Image.fromarray(wide), "PNG"), np.floor(wide / 257 + 0.5).astype(np.uint8))
wide = RGB.astype(">u2") * 257
keep("rgb16.png", png(WIDTH, HEIGHT, 16, 2, lines(wide)), RGB)
clear = np.where((RGB == RGB[0, 0]).all(-1), 0, 255)
extra = [(b"tRNS", struct.pack(">HHH", *RGB[0, 0]))]
keep("rgb-transparent.png", png(WIDTH, HEIGHT, 8, 2, lines(RGB), extra=extra), over_white(RGB, clear))
extra = [(b"tRNS", struct.pack(">H", GREY[0, 0]))]
keep("grey-transparent.png", png(WIDTH, HEIGHT, 8, 0, lines(GREY), extra=extra), over_white(GREY, np.where(GREY == GREY[0, 0], 0, 255)))
passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
rows = b"".join(lines(np.ascontiguousarray(RGB[y::dy, x::dx])) for x, y, dx, dy in passes)
keep("interlaced.png", png(WIDTH, HEIGHT, 8, 2, rows, interlaced=True), RGB)
other = Image.fromarray(255 - RGB)
keep("animated.png", saved(palette.convert("RGB").quantize(8), "PNG", save_all=True, append_images=[palette.quantize(8).transpose(Image.Transpose.FLIP_LEFT_RIGHT)]), np.asarray(palette.convert("RGB").quantize(8).convert("RGB")))
exif = Image.Exif()
exif[0x0112] = 6
keep("turned.png", saved(colour, "PNG", exif=exif, optimize=True), np.rot90(RGB, -1))

# WebP: the lossy ones as libwebp decodes them.
data = saved(colour, "WEBP", quality=90)
keep("lossy.webp", data, opened(data, "RGB"))
keep("lossless.webp", saved(colour, "WEBP", lossless=True), RGB)
keep("lossless-alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True), over_white(RGB, ALPHA))
data = saved(rgba, "WEBP", quality=90)
pixels = opened(data, "RGBA")
keep("lossy-alpha.webp", data, over_white(pixels[..., :3], pixels[..., 3]))
keep("animated.webp", saved(colour, "WEBP", lossless=True, save_all=True, append_images=[other], duration=100), RGB)
data = saved(colour, "WEBP", quality=90, exif=exif)
keep("turned.webp", data, opened(data, "RGB"))

# GIF
keep("palette.gif", saved(palette, "GIF"), colours)
keep("straight.gif", saved(palette, "GIF", interlace=0), colours)
keep("transparent.gif", saved(palette, "GIF", transparency=3), over_white(colours, np.where(see_through, 0, 255)))
keep("animated.gif", saved(palette, "GIF", save_all=True, append_images=[other.quantize(16)], duration=100), colours)
# A frame smaller than its screen, which shows white around it.
data = bytearray(saved(palette, "GIF", interlace=0))
data[6:10] = struct.pack("<HH", WIDTH + 6, HEIGHT + 5)
place = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
data[place + 1 : place + 5] = struct.pack("<HH", 4, 2)
screen = np.full((HEIGHT + 5, WIDTH + 6, 3), 255, np.uint8)
screen[2 : 2 + HEIGHT, 4 : 4 + WIDTH] = colours
keep("offset.gif", bytes(data), screen)

# BMP
keep("rgb.bmp", saved(colour, "BMP"), RGB)
keep("palette.bmp", saved(palette, "BMP"), colours)
keep("one-bit.bmp", saved(grey.point(lambda v: 255 * (v > 110), "1"), "BMP"), np.repeat(np.where(GREY > 110, 255, 0).astype(np.uint8)[..., None], 3, -1))

# TIFF
keep("grey.tif", saved(grey, "TIFF"), GREY)
keep("rgb-plain.tif", saved(colour, "TIFF"), RGB)
for compression in ["tiff_lzw", "tiff_adobe_deflate", "packbits"]:
    keep(f"rgb-{compression}.tif", saved(colour, "TIFF", compression=compression), RGB)
keep("rgba.tif", saved(rgba, "TIFF", compression="tiff_lzw"), over_white(RGB, ALPHA))
keep("palette.tif", saved(colour.quantize(16, dither=Image.Dither.NONE), "TIFF", compression="tiff_lzw"), colours)
keep("one-bit.tif", saved(grey.point(lambda v: 255 * (v > 110), "1"), "TIFF"), np.where(GREY > 110, 255, 0).astype(np.uint8))
wide = GREY.astype(np.uint16) * 257
keep("grey16.tif", saved(Image.fromarray(wide), "TIFF"), GREY)
keep("pages.tif", saved(grey, "TIFF", save_all=True, append_images=[ImageOps.invert(grey)]), GREY)


def tiff(order, bits, photometric, samples, extra=()):
    """A plain TIFF of one strip, for kinds and byte orders that Pillow does not write."""
    count = samples.shape[2] if samples.ndim == 3 else 1
    body = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    entries = [(256, 4, [WIDTH]), (257, 4, [HEIGHT]), (258, 3, [bits] * count), (259, 3, [1]), (262, 3, [photometric])]
    entries += [(273, 4, [8]), (277, 3, [count]), (278, 4, [HEIGHT]), (279, 4, [len(body)]), *extra]
    entries.sort()
    out = struct.pack(f"{order}2sHI", b"MM" if order == ">" else b"II", 42, 8 + len(body)) + body
    after = len(out) + 2 + 12 * len(entries) + 4
    out += struct.pack(f"{order}H", len(entries))
    tail = b""
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            place, tail = after + len(tail), tail + packed
            packed = struct.pack(f"{order}I", place)
        out += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return out + struct.pack(f"{order}I", 0) + tail


wide = RGB.astype(np.uint16) * 257
keep("rgb16.tif", tiff("<", 16, 2, wide), RGB)
keep("big-endian.tif", tiff(">", 8, 2, RGB), RGB)
keep("turned.tif", tiff("<", 8, 2, RGB, [(274, 3, [6])]), np.rot90(RGB, -1))
places = np.asarray(palette)
table = np.array(palette.getpalette()[: 16 * 3]).reshape(16, 3)
packed = (places[:, 0::2] << 4 | places[:, 1::2]).astype(np.uint8)
full = [int(v) * 257 for v in table.T.reshape(-1)]
keep("palette-4-bit-big-endian.tif", tiff(">", 4, 3, packed, [(320, 3, full)]), colours)
