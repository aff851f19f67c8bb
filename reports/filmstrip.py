"""What a model looked at: the frames of some clips, those kept by each block, those that were informative."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.errors import UserError
from bench.record import Result
from bench.samples import Samples

TILE = 64  # pixels a side of a frame in the picture
BAR = 9  # pixels a block's row of marks
GAP = 8
VEIL = 0.8  # opacity over what no block computed
EDGE = 10  # left of the frames, for the bar
KEPT, DROPPED, INFORMATIVE = (0, 114, 178), (214, 214, 214), (230, 159, 0)
RIGHT, WRONG = (0, 158, 115), (204, 51, 17)


@dataclass(frozen=True)
class Filmstrip:
    """A picture and what to say of it.

    Attributes:
        clips: of each clip in the picture, which it is, its class, and what it was taken for.
    """

    png: bytes
    description: str
    clips: tuple[str, ...]


def draw_filmstrip(result: Result, samples: Samples, clips: int = 4) -> Filmstrip | None:
    """Frames of some clips, an orange frame where informative, and a row of marks per block below.

    Clips that were answered rightly and wrongly, as many of each as the sheet of clips has; a bar on their left is
    green or red. Where blocks compute cells, each cell is veiled by the share of those blocks that skipped it; crops
    are outlined.

    None where the method decides nothing about frames.

    Raises:
        UserError: when the record's sheet of clips is missing or damaged, or its samples are of other clips.
    """
    if samples.kept is None and samples.crops is None:
        return None
    # Of several views the sheet has the first.
    frames = samples.times.shape[1] // int(result.values["macs"]["views"])
    sheet = _tiles(result, frames)
    shown = _chosen(samples, _rows(result, samples)[: len(sheet)], clips)
    blocks = 0 if samples.kept is None else samples.kept.shape[1]
    row = TILE + 4 + blocks * BAR + GAP
    canvas = Image.new("RGB", (EDGE + frames * (TILE + 2), len(shown) * row), "white")
    right = samples.correct()
    for number, (place, clip) in enumerate(shown):
        pictures = _looked_at(sheet[place], samples, clip)
        kept = np.zeros((0, frames), np.bool_) if samples.kept is None else samples.kept[clip, :, :frames]
        _draw_clip(canvas, number * row, pictures, kept, samples.informative[clip])
        bar = (0, number * row, EDGE - 4, (number + 1) * row - GAP)
        ImageDraw.Draw(canvas).rectangle(bar, fill=RIGHT if right[clip] else WRONG)
    buffer = io.BytesIO()
    # Runs alone are as small as what a search for repeats finds in noisy pictures, in half of its time.
    canvas.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    rows = [clip for _, clip in shown]
    return Filmstrip(buffer.getvalue(), _description(samples, rows, frames), _answers(result, samples, rows))


def _rows(result: Result, samples: Samples) -> list[int]:
    """Of each clip of the sheet, the row of its samples.

    Raises:
        UserError: where the samples lack one.
    """
    row_of = {int(video): row for row, video in enumerate(samples.video)}
    videos = result.values["preview"]["videos"]
    missing = [video for video in videos if video not in row_of]
    if missing:
        raise UserError(
            f"{result.path.with_name('samples.parquet')} has no video {missing[0]}, which {result.path} shows clips "
            "of; expected files of one record."
        )
    return [row_of[video] for video in videos]


def _chosen(samples: Samples, rows: list[int], clips: int) -> list[tuple[int, int]]:
    """Places in the sheet with their rows: half of them answered rightly and half wrongly, where there are so many."""
    places = list(enumerate(rows))
    right = samples.correct()
    good, bad = ([each for each in places if right[each[1]] == answer] for answer in (True, False))
    wrong = bad[: max(clips // 2, clips - len(good))]
    return sorted([*good[: clips - len(wrong)], *wrong])


def _looked_at(pictures: list[Image.Image], samples: Samples, clip: int) -> list[Image.Image]:
    """Frames of one clip with its cells and crops, and where what carries the label is."""
    if samples.cells is not None:
        shares = samples.cells[clip].mean(axis=0)[: len(pictures)]
        pictures = [_veiled(picture, computed) for picture, computed in zip(pictures, shares, strict=True)]
    if samples.crops is not None:
        boxes = samples.crops[clip][: len(pictures)]
        pictures = [_outlined(picture, box, KEPT, 2) for picture, box in zip(pictures, boxes, strict=True)]
    regions = samples.regions[clip][: len(pictures)]
    return [_outlined(picture, box, INFORMATIVE, 1) for picture, box in zip(pictures, regions, strict=True)]


def _answers(result: Result, samples: Samples, rows: list[int]) -> tuple[str, ...]:
    """In words, which video each is, its class, and what it was taken for."""
    names, right = result.names, samples.correct()

    def named(kind: str, number: int) -> str:
        known = names["classes" if kind == "class" else "videos"]
        return known[number] if number < len(known) else f"{kind} {number}"

    found = []
    for row in rows:
        labels = [int(samples.label[row])] if samples.targets is None else np.flatnonzero(samples.targets[row]).tolist()
        true = ", ".join(named("class", label) for label in labels)
        said = "right" if right[row] else f"wrong, taken for {named('class', int(samples.logits[row].argmax()))}"
        found.append(f"{named('video', int(samples.video[row]))}, {true}: {said}.")
    return tuple(found)


def _description(samples: Samples, rows: list[int], frames: int) -> str:
    """What the picture shows, for those who read it and those who cannot see it."""
    right = int(samples.correct()[rows].sum())
    parts = [
        f"{len(rows)} validation clips of {frames} frames, {right} answered rightly (green bar on the left) and "
        f"{len(rows) - right} wrongly (red). Framed in orange: informative."
    ]
    if samples.regions[rows].any():
        parts.append("The thin orange frame inside: where what carries the label is.")
    if samples.kept is not None:
        blocks = samples.kept.shape[1]
        marks = "a mark" if blocks == 1 else f"one mark for each of the {blocks} focal blocks in network order"
        parts.append(
            f"Below each frame, {marks}: blue where it was computed, grey where it was skipped. Kept in these clips: "
            f"{samples.kept[rows][:, :, :frames].mean():.0%}."
        )
    if samples.cells is not None:
        count = samples.cells.shape[1]
        parts.append(f"The paler a part of a picture, the more of the {count} blocks with cells skipped it.")
    if samples.crops is not None:
        parts.append("Outlined in blue: what the network saw.")
    return " ".join(parts)


def _outlined(picture: Image.Image, box: NDArray[np.float32], colour: tuple[int, int, int], width: int) -> Image.Image:
    """The picture with a box, in shares of its sides; as it is where the box is nothing."""
    if box.any():
        left, top, right, bottom = (TILE * box).round().tolist()
        corner = (max(right - 1, left), max(bottom - 1, top))  # of the least box a pixel is seen
        ImageDraw.Draw(picture).rectangle(((left, top), corner), outline=colour, width=width)
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
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
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
        left = EDGE + t * (TILE + 2)
        canvas.paste(picture, (left, top))
        if informative[t]:
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline=INFORMATIVE, width=3)
        for block, keeps in enumerate(kept[:, t]):
            y = top + TILE + 3 + block * BAR
            draw.rectangle((left + 2, y, left + TILE - 3, y + BAR - 3), fill=KEPT if keeps else DROPPED)
