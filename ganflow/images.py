"""Pictures: tensors as labelled grids, and folders of images as tensors.

save(grid({"real_A": a, "fake_B": b}), "samples/000100.png")       # N x C x H x W in [-1, 1]
for name, image in read_folder("photos", size=64, channels=3):     # C x 64 x 64 in [-1, 1]
    ...
"""

from __future__ import annotations

import io
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ganflow.errors import GanflowError
from ganflow.files import cannot_write, write_whole

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

LEAST_SIDE = 128  # smaller tiles are enlarged by a whole factor to at least this
GAP, TITLE = 4, 22
FONT_SIZES = (14, 12, 10)
PAPER, INK = (255, 255, 255), (20, 20, 20)
SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_uint8(x: Tensor) -> Tensor:
    """``to_uint8(fake_B)``: [-1, 1] to 0 ... 255, rounded, values outside clipped, NaN as 0; same device.

    The inverse of how a loader reads: a uint8 image comes back exactly.
    """
    return x.detach().float().nan_to_num(nan=-1.0).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def grid(columns: Mapping[str, Tensor], *, scale: int | None = None, titles: bool = True, gap: int = GAP) -> Image:
    """``grid({"real_A": a, "fake_B": b, "real_B": c})``: a row for each sample, a column for each name.

    Pixels are repeated, never smoothed. A column of smaller images than the largest is enlarged by the whole
    factor that fits, so that low and high resolution lie side by side. One channel is grey, three are RGB. Of
    any other number the first three are shown as RGB, of two the first as grey, and the title says so.

    Args:
        columns: N x C x H x W in [-1, 1], the same N in each.
        scale: by what whole factor to enlarge the largest images; None: to 128 pixels or more.
        titles: whether the names stand above the columns.
        gap: pixels between the images and around them.

    Raises:
        GanflowError: no columns, other shapes than these, a different number of samples.
    """
    from PIL import Image

    _check(columns)
    height, width = (max(x.shape[side] for x in columns.values()) for side in (2, 3))
    factor = -(-LEAST_SIDE // min(height, width)) if scale is None else scale
    height, width, top = height * factor, width * factor, TITLE if titles else gap
    count = len(next(iter(columns.values())))
    sheet = Image.new("RGB", (gap + len(columns) * (width + gap), top + count * (height + gap)), PAPER)
    for j, (name, values) in enumerate(columns.items()):
        left = gap + j * (width + gap)
        if titles:
            _title(sheet, name + _part(values.shape[1]), left, width)
        for i, pixels in enumerate(_pixels(values)):
            sheet.paste(_enlarged(pixels, height, width), (left, top + i * (height + gap)))
    return sheet


def apart(sheet: Image, names: Sequence[str]) -> dict[str, Image]:
    """``apart(grid({"a": a, "b": b}), ["a", "b"])``: its columns again, as pictures without titles.

    Args:
        sheet: from :func:`grid` with titles and the usual gap.
    """
    width = (sheet.width - GAP) // len(names) - GAP
    left = [GAP + j * (width + GAP) for j in range(len(names))]
    return {n: sheet.crop((x, TITLE, x + width, sheet.height)) for n, x in zip(names, left, strict=True)}


def beside(columns: Mapping[str, Image]) -> Image:
    """Columns of one size side by side, their names above them."""
    from PIL import Image

    width, height = next(iter(columns.values())).size
    sheet = Image.new("RGB", (GAP + len(columns) * (width + GAP), TITLE + height), PAPER)
    for j, (name, column) in enumerate(columns.items()):
        left = GAP + j * (width + GAP)
        _title(sheet, name, left, width)
        sheet.paste(column, (left, TITLE))
    return sheet


def save(image: Image, path: str | os.PathLike[str], *, status: int = 2) -> Path:
    """``save(picture, "samples/000100.png")``: a PNG whatever the name ends in, whole or not at all.

    Missing parents are made.

    Raises:
        GanflowError: it cannot be written there (``status``), or no space is left (status 1).
    """
    path, png = Path(path), io.BytesIO()
    image.save(png, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error, status=status) from error
    return write_whole(path, png.getvalue(), status=status)


def image_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """``image_files("photos")``: name -> file, sorted; PNG and JPEG by their ending, no hidden files.

    A name is the file's without its ending, or with it where two files would share one.

    Raises:
        GanflowError: no such folder, or no image in it.
    """
    folder = Path(folder)
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise GanflowError(f"the folder {folder} cannot be read: {reason}", code="no-folder") from error
    if not files:
        hint = f"put images there that end in {', '.join(SUFFIXES)}; folders inside it are not searched"
        raise GanflowError(f"the folder {folder} has no images", hint=hint, code="no-images")
    stems = Counter(path.stem.lower() for path in files)
    return {p.stem if stems[p.stem.lower()] == 1 else p.name: p for p in files}


def read_folder(
    folder: str | os.PathLike[str], size: int | tuple[int, int], channels: int = 3
) -> Iterator[tuple[str, Tensor]]:
    """``for name, image in read_folder("photos", 64, 3)``: see :func:`image_files` and :func:`read`.

    The folder is looked at now; each image is read when its turn comes.
    """
    files = image_files(folder)
    return ((name, read(path, size, channels)) for name, path in files.items())


def read(path: str | os.PathLike[str], size: int | tuple[int, int], channels: int = 3) -> Tensor:
    """``read("a.jpg", 64)``: float32 C x H x W in [-1, 1].

    The image is turned as its camera says, resized (Lanczos, aspect kept) until it just covers ``size``, and
    cut to it around its middle; an image of that size keeps its pixels. What is transparent becomes white,
    unless there are 4 channels.

    Args:
        path: any image that Pillow reads.
        size: height and width, or one number for both.
        channels: 1 grey, 3 RGB, 4 RGB and opacity.

    Raises:
        GanflowError: the image cannot be read, or there is no such kind of image.
    """
    from PIL import Image, ImageOps

    if channels not in MODES:
        allowed = "1 (grey), 3 (RGB), 4 (RGB and opacity)"
        raise GanflowError(f"an image cannot be read with {channels} channels", hint=f"allowed: {allowed}")
    height, width = (size, size) if isinstance(size, int) else size
    try:
        with Image.open(path) as opened:
            image = _converted(ImageOps.exif_transpose(opened), channels)
    # Pillow's decoders raise all of these on damaged files
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        hint = "it may be damaged or no image; mend it or take it out of the folder"
        raise GanflowError(f"the image {path} cannot be read: {error}", hint=hint, code="bad-image") from error
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return _tensor(image)


def _check(columns: Mapping[str, Tensor]) -> None:
    if not columns:
        raise GanflowError("a grid of samples needs at least one column", code="bad-grid")
    count = next(iter(columns.values())).shape[:1]
    for name, x in columns.items():
        shape = "×".join(map(str, x.shape)) or "()"
        if x.ndim != 4 or 0 in x.shape:
            message = f"`{name}` cannot be shown as images: its shape is {shape}"
            raise GanflowError(message, hint="allowed: N×C×H×W", code="bad-grid")
        if x.shape[:1] != count:
            message = f"`{name}` has {x.shape[0]} samples, the first column {count[0]}"
            raise GanflowError(message, hint="each column has one image in each row", code="bad-grid")


def _part(channels: int) -> str:
    """What the title adds when not all channels are shown."""
    return "" if channels in (1, 3) else f" ({1 if channels == 2 else 3} of {channels} ch.)"


def _pixels(values: Tensor) -> np.ndarray:
    """uint8 N x H x W x 3."""
    shown = values[:, :3] if values.shape[1] >= 3 else values[:, :1].expand(-1, 3, -1, -1)
    return to_uint8(shown).permute(0, 2, 3, 1).cpu().contiguous().numpy()


def _enlarged(pixels: np.ndarray, height: int, width: int) -> Image:
    from PIL import Image

    factor = min(height // pixels.shape[0], width // pixels.shape[1])
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _title(sheet: Image, text: str, left: int, width: int) -> None:
    """The name in the largest letters that fit, cut off with dots if the smallest do not."""
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(sheet)
    fonts = [ImageFont.load_default(size) for size in FONT_SIZES]
    font = next((font for font in fonts if draw.textlength(text, font=font) <= width), fonts[-1])
    draw.text((left, TITLE // 2), _shortened(text, font, width), fill=INK, font=font, anchor="lm")


def _shortened(text: str, font: FreeTypeFont | ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    cuts = (text[:end] + "…" for end in range(len(text) - 1, 0, -1))
    return next((cut for cut in cuts if font.getlength(cut) <= width), "")


def _converted(image: Image, channels: int) -> Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits: Pillow would clip them, not scale them
        image = Image.frombytes("L", image.size, _high_bytes(image))
    if channels != 4 and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(MODES[channels])


def _high_bytes(image: Image) -> bytes:
    import numpy as np

    return (np.asarray(image).astype(np.int64) // 257).clip(0, 255).astype(np.uint8).tobytes()


def _tensor(image: Image) -> Tensor:
    import numpy as np

    pixels = torch.from_numpy(np.array(image)).reshape(image.height, image.width, -1)
    return pixels.permute(2, 0, 1).float().div_(127.5).sub_(1).contiguous()
