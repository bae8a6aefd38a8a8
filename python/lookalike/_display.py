"""How things look in notebooks."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_CELL = "display:inline-block;margin:4px;text-align:center;vertical-align:top;width:112px;font:11px sans-serif"
_PICTURE = "width:96px;height:96px;object-fit:contain;image-rendering:{}"
_EMPTY = "display:inline-block;width:94px;height:94px;border:1px dashed #999"
_TEXT = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"


def describe(title: str, about: Mapping[str, Any]) -> str:
    """A title and a small table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in about.items()
    )
    return f"<div><code>{escape(title)}</code><table>{rows}</table></div>"


def sheet(title: str, cells: Iterable[tuple[bytes | None, list[str]]]) -> str:
    """A contact sheet: for each cell the bytes of a PNG or JPEG file, and lines below it."""
    parts = []
    for picture, lines in cells:
        if picture is None:
            shown = f"<span style='{_EMPTY}'></span>"
        else:
            is_png = picture.startswith(b"\x89PNG")
            data = base64.b64encode(picture).decode()
            style = _PICTURE.format("pixelated" if is_png else "auto")
            shown = f"<img style='{style}' src='data:image/{'png' if is_png else 'jpeg'};base64,{data}'>"
        texts = "".join(
            f"<div style='{_TEXT}' title='{escape(line, quote=True)}'>{escape(line)}</div>"
            for line in lines
        )
        parts.append(f"<div style='{_CELL}'>{shown}{texts}</div>")
    return f"<div><div style='font:13px sans-serif'>{escape(title)}</div>{''.join(parts)}</div>"


def query_picture(asked: tuple[str, Any, Any]) -> bytes | None:
    """The query's picture, where it is at hand."""
    kind, subject, _ = asked
    if kind == "bytes":
        return subject if subject[:4] == b"\x89PNG" or subject[:2] == b"\xff\xd8" else None
    if kind == "pixels":
        return _png(*subject)
    return None


def _png(pixels: bytes, shape: list[int]) -> bytes:
    """A PNG file of pixels, without another package."""
    height, width, channels = shape
    row = width * channels
    rows = b"".join(b"\0" + pixels[at : at + row] for at in range(0, height * row, row))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
