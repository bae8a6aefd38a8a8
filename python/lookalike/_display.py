"""How things look in notebooks."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_CELL = "display:inline-block;margin:4px;text-align:center;vertical-align:top;width:112px;font:11px sans-serif"
_PICTURE = "width:96px;height:96px;object-fit:contain;image-rendering:{}"
_EMPTY = "display:inline-block;width:94px;height:94px;border:1px dashed #999"
_TEXT = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"


def describe(title: str, about: Mapping[str, Any]) -> str:
    """A title and a small table."""
    rows = "".join(f"<tr><th style='text-align:left'>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in about.items())
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
        texts = "".join(f"<div style='{_TEXT}' title='{escape(line, quote=True)}'>{escape(line)}</div>" for line in lines)
        parts.append(f"<div style='{_CELL}'>{shown}{texts}</div>")
    return f"<div><div style='font:13px sans-serif'>{escape(title)}</div>{''.join(parts)}</div>"
