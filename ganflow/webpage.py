"""How every page of ganflow begins: it stands alone, and is light or dark as the reader's screen is.

head("pix2pix: report", "body { margin: 0 }")       # '<!doctype html> ... </head>'
"""

from __future__ import annotations

from html import escape


def head(title: str, style: str) -> str:
    """Everything before ``<body>``; ``title`` is any text, ``style`` is CSS."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
"""
