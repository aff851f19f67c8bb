"""What a model looked at: the frames of some clips, those kept by each block, those that were informative."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.errors import UserError
from bench.record import Result
from bench.samples import Samples, read_samples

TILE = 64  # pixels a side of a frame in the picture
BAR = 9  # pixels a block's row of marks
GAP = 8
VEIL = 0.8  # opacity over what no block computed
KEPT, DROPPED, INFORMATIVE = (0, 114, 178), (214, 214, 214), (230, 159, 0)


@dataclass(frozen=True)
class Filmstrip:
    """A picture and what to say of it."""

    png: bytes
    description: str

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def draw_filmstrip(result: Result, clips: int = 4) -> Filmstrip | None:
    """Frames of the first clips, an orange frame where informative, and a row of marks per block below.

    Where blocks compute cells, each cell is veiled by the share of those blocks that skipped it; crops are outlined.

    None where the method decides nothing about frames.

    Raises:
        UserError: when the record's samples or its sheet of clips are missing or damaged.
    """
    samples = read_samples(result.path.with_name("samples.parquet"))
    if samples.kept is None and samples.crops is None:
        return None
    frames = samples.times.shape[1]
    tiles = _tiles(result, frames)[: min(clips, len(samples.video))]
    blocks = 0 if samples.kept is None else samples.kept.shape[1]
    row = TILE + 4 + blocks * BAR + GAP
    canvas = Image.new("RGB", (frames * (TILE + 2), len(tiles) * row), "white")
    for clip, pictures in enumerate(tiles):
        if samples.cells is not None:
            shares = samples.cells[clip].mean(axis=0)
            pictures = [_veiled(picture, computed) for picture, computed in zip(pictures, shares, strict=True)]
        if samples.crops is not None:
            pictures = [_outlined(picture, box) for picture, box in zip(pictures, samples.crops[clip], strict=True)]
        kept = np.zeros((0, frames), np.bool_) if samples.kept is None else samples.kept[clip]
        _draw_clip(canvas, clip * row, pictures, kept, samples.informative[clip])
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", compress_level=6)
    return Filmstrip(buffer.getvalue(), _description(samples, len(tiles), frames))


def _description(samples: Samples, clips: int, frames: int) -> str:
    """What the picture shows, for those who read it and those who cannot see it."""
    parts = [f"{clips} validation clips of {frames} frames. Framed in orange: informative."]
    if samples.kept is not None:
        blocks = samples.kept.shape[1]
        marks = "a mark" if blocks == 1 else f"one mark for each of the {blocks} focal blocks in network order"
        parts.append(
            f"Below each frame, {marks}: blue where it was computed, grey where it was skipped. Kept in these clips: "
            f"{samples.kept[:clips].mean():.0%}."
        )
    if samples.cells is not None:
        count = samples.cells.shape[1]
        parts.append(f"The paler a part of a picture, the more of the {count} blocks with cells skipped it.")
    if samples.crops is not None:
        parts.append("Outlined in blue: what the network saw.")
    return " ".join(parts)


def _outlined(picture: Image.Image, box: NDArray[np.float32]) -> Image.Image:
    """The picture with a crop, in shares of its sides, in blue; as it is where the crop is nothing."""
    if box.any():
        left, top, right, bottom = (TILE * box).round().tolist()
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=KEPT, width=2)
    return picture


def _veiled(picture: Image.Image, computed: NDArray[np.float64]) -> Image.Image:
    """The picture under a white veil; computed (G, G) is the share of blocks that computed each cell."""
    grid = len(computed)
    cell = np.arange(TILE) * grid // TILE
    opacity = VEIL * (1 - computed[cell][:, cell])
    veil = Image.fromarray((255 * opacity).astype(np.uint8))
    return Image.composite(Image.new("RGB", picture.size, "white"), picture, veil)


def _tiles(result: Result, frames: int) -> list[list[Image.Image]]:
    """The sheet of clips cut into frames."""
    path = result.path.with_name("clips.jpg")
    try:
        with Image.open(path) as image:
            sheet = image.convert("RGB")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a readable picture ({error}); expected the sheet of clips of the record."
        ) from error
    side = sheet.width // frames
    if side == 0 or sheet.size != (side * frames, sheet.height // side * side):
        raise UserError(
            f"{path} has {sheet.width}x{sheet.height} pixels; expected a sheet of square pictures, {frames} to a row "
            "as the record's samples have frames."
        )
    return [
        [
            sheet.crop((t * side, top, (t + 1) * side, top + side)).resize((TILE, TILE), Image.Resampling.LANCZOS)
            for t in range(frames)
        ]
        for top in range(0, sheet.height - side + 1, side)
    ]


def _draw_clip(
    canvas: Image.Image,
    top: int,
    pictures: list[Image.Image],
    kept: NDArray[np.bool_],
    informative: NDArray[np.bool_],
) -> None:
    """One clip: its frames, and kept (blocks, T) as marks below."""
    draw = ImageDraw.Draw(canvas)
    for t, picture in enumerate(pictures):
        left = t * (TILE + 2)
        canvas.paste(picture, (left, top))
        if informative[t]:
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline=INFORMATIVE, width=3)
        for block, keeps in enumerate(kept[:, t]):
            y = top + TILE + 3 + block * BAR
            draw.rectangle((left + 2, y, left + TILE - 3, y + BAR - 3), fill=KEPT if keeps else DROPPED)
