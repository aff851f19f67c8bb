"""Training and evaluation of data of which some cannot be used: what is left counts, and nothing takes its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.batches import Batch, present
from bench.data.catalogue import StoredSettings
from bench.data.listing import Prepared
from bench.data.stored import Stored
from bench.distributed import ALONE
from bench.errors import UserError
from bench.evaluation import first_clips, score, validation
from bench.experiment import Data, Experiment
from bench.metrics import mean_average_precision
from bench.optimiser import make_optimiser
from bench.record import point_folder, read_result
from bench.run import quiet, run_experiment
from bench.samples import read_samples
from bench.training import _step, make_model, train
from bench.training_state import State
from tests.bench.data.test_stored import prepared_frames
from tests.conftest import small

CPU = torch.device("cpu")


def spoil(prepared: Prepared, numbers: Iterable[int]) -> None:
    """Cut the frames of these clips short."""
    for number in numbers:
        for path in (prepared.media / f"clip {number}").iterdir():
            path.write_bytes(path.read_bytes()[:99])


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    """Eight clips, which both splits are."""
    monkeypatch.setenv("AFNET_BENCH_DATA", str(tmp_path / "data"))
    labels = tuple((number % 3,) for number in range(8))
    return prepared_frames(tmp_path / "data" / "gestures", lengths=(4,) * 8, labels=labels)


def point(batch: int = 4, micro_batch: int = 0, method: str = "tsn", on_bad: str = "skip") -> Experiment:
    """Two steps."""
    first = small(method)
    training = replace(first.training, batch=batch, micro_batch=micro_batch, lr=0.001)
    return replace(
        first,
        data=Data("gestures", size=64, settings=StoredSettings(on_bad=on_bad, short_side=64)),
        training=training,
        evaluation=replace(first.evaluation, batch=4),
        runtime=replace(first.runtime, workers=0),
    )


# --- Training ---------------------------------------------------------------------------------------------------------


def a_step(experiment: Experiment, batches: list[Batch], folder: Path) -> tuple[float, dict[str, Tensor]]:
    """The loss of the first step with these batches as its parts, and the weights after it."""
    model = make_model(experiment)
    run = State(experiment, folder, CPU, ALONE, model, make_optimiser(model, experiment.training))
    loss, _ = _step(run, iter(batches))
    return loss, dict(model.named_parameters())


# AFNet's noise is drawn by the number of the part.
@pytest.mark.parametrize(("method", "empty_first"), [("tsn", False), ("tsn", True), ("afnet", False)])
def test_a_part_without_a_video_counts_for_nothing(
    prepared: Prepared, tmp_path: Path, method: str, empty_first: bool
) -> None:
    """A step of two parts of which one is empty is a step of the other one."""
    halves = point(batch=4, micro_batch=2, method=method)
    spoil(prepared, [4, 5])
    full, empty = (
        replace(validation(halves, batch=2).make(number), bad=(("its name", "its fault"),)) for number in (0, 2)
    )
    assert (len(full), len(empty)) == (2, 0)
    loss, found = a_step(halves, [empty, full] if empty_first else [full, empty], tmp_path)
    alone, wanted = a_step(point(batch=2, method=method), [full], tmp_path)
    assert loss == alone
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, atol=1e-7), name


def test_a_part_with_fewer_videos_than_its_method_needs_counts_for_nothing(prepared: Prepared, tmp_path: Path) -> None:
    """Statistics over clips are not taken of one."""
    spoil(prepared, [5])
    experiment = point(batch=4, micro_batch=2, method="frameexit")
    full, single = (validation(experiment, batch=2).make(number) for number in (0, 2))
    assert (len(full), len(single)) == (2, 1)
    loss, _ = a_step(experiment, [full, single], tmp_path)
    assert loss == a_step(experiment, [full, replace(single, videos=single.videos[:0])], tmp_path)[0]


def test_a_step_without_a_video_stops_the_training(prepared: Prepared, tmp_path: Path) -> None:
    spoil(prepared, range(8))
    words = r"None of the 4 training videos of step 1 can be used; one of them is 'clip \d': .*jpg is no whole JPEG"
    with pytest.raises(UserError, match=words):
        train(point(4, 2), tmp_path, CPU, lambda *_: None)


# --- Evaluation -------------------------------------------------------------------------------------------------------


def test_batches_without_a_video_are_left_out_and_counted(prepared: Prepared, tmp_path: Path) -> None:
    """The first one, of which the cost model is read off, and the last one."""
    experiment = replace(point(), evaluation=replace(point().evaluation, batch=1))
    run_experiment(experiment, tmp_path / "whole")
    whole = read_samples(point_folder(tmp_path / "whole", experiment) / "samples.parquet")
    # What was trained stays; another evaluation of it.
    again = replace(experiment, evaluation=replace(experiment.evaluation, execution="masked"))
    spoil(prepared, [0, 7])
    run_experiment(again, tmp_path / "whole")
    folder = point_folder(tmp_path / "whole", again)
    some = read_samples(folder / "samples.parquet")
    assert some.video.tolist() == [1, 2, 3, 4, 5, 6]
    assert np.allclose(some.logits, whole.logits[1:7], atol=1e-5)
    assert list(read_result(folder / "result.json").values["left_out"]["val"]) == ["clip 0", "clip 7"]


def test_the_first_videos_are_the_first_that_can_be_used(prepared: Prepared) -> None:
    spoil(prepared, [0, 1, 2])
    assert first_clips(point(), 2).videos.tolist() == [3]
    assert first_clips(point(), 4).videos.tolist() == [3]


def test_where_no_video_can_be_used_nothing_is_scored(prepared: Prepared, tmp_path: Path) -> None:
    experiment = point()
    spoil(prepared, range(8))
    words = "None of the 8 validation videos can be used"
    with pytest.raises(UserError, match=words):
        first_clips(experiment, 2)
    with pytest.raises(UserError, match=words):
        score(make_model(experiment).eval(), validation(experiment), CPU, quiet)


# --- The score of a validation ----------------------------------------------------------------------------------------


def test_the_score_is_that_of_the_evaluation(prepared: Prepared, tmp_path: Path) -> None:
    """Of top-1 and of mAP, over batches of several sizes, with a video left out."""
    experiment = point()
    spoil(prepared, [3])
    model = make_model(experiment).eval()
    batches = list(validation(experiment, batch=3).stream())
    with torch.inference_mode():
        logits = torch.cat([model(present(model, batch, CPU)).logits for batch in batches]).numpy()
    labels = np.concatenate([batch.labels for batch in batches])
    assert len(labels) == 7
    clips = validation(experiment, batch=3)
    found = score(model, clips, CPU, quiet)
    assert (
        found.metric == "top1"
        and found.left_out == 1
        and found.value == pytest.approx(100 * (logits.argmax(1) == labels).mean())
    )
    assert isinstance(clips.source, Stored)
    several = replace(clips.source, prepared=replace(prepared, metric="map"))
    found = score(model, replace(clips, source=several), CPU, quiet)
    targets = np.eye(3, dtype=bool)[labels]
    assert found.metric == "map" and found.value == pytest.approx(mean_average_precision(targets, logits))


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_a_data_set_that_is_gone_is_no_bad_video(prepared: Prepared, tmp_path: Path, on_bad: str) -> None:
    """Leaving out what cannot be used would leave out all of it."""
    prepared.media.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"where all of .* is, is gone. Expected it where `afbench data prepare` found"):
        run_experiment(point(on_bad=on_bad), tmp_path / "runs")
