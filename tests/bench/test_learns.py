"""Learning works: every method comes to answer all of sixteen clips of digits in motion that it is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.data.batches import present
from bench.data.catalogue import DigitsSettings, find_dataset
from bench.data.loader import TrainingClips
from bench.experiment import Data, Experiment, Model, Runtime, Training
from bench.methods import METHODS
from bench.settings import FFN, Crop
from bench.training import set_up_torch, train
from sweeps.recipes.start import starting_point

CPU = torch.device("cpu")
CLIPS = 16
# Nothing but the digit, in every frame: a clip has one frame more than is looked at.
EASY = DigitsSettings(informative=1.0, noise=0, distractors=0)
# AdaFocus learns in stages.
EPOCHS = {"adafocus": 120}
# Of 64 pixels: a random crop that may miss the digit answers by chance now and then, however well it has learnt.
ALWAYS_SHOWS = 56


def point(method: str) -> Experiment:
    ffn = Model("ffn", "tiny", 8, FFN(counts="4+8", dropout=0.0))
    model = ffn if method == "ffn" else starting_point(method).model
    if method == "random-crop":
        model = replace(model, settings=Crop(patch=ALWAYS_SHOWS))
    settings = replace(EASY, length=model.frames + 1)
    return Experiment(
        data=Data(train_clips=CLIPS, val_clips=1, settings=settings),
        model=model,
        training=Training(
            epochs=EPOCHS.get(method, 60), batch=CLIPS, lr=0.08, nesterov=True, multipliers="from-scratch"
        ),
        runtime=Runtime(threads=1, checkpoint_seconds=1e9, log_every=1000),
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_method_answers_all_clips_it_was_trained_on(tmp_path: Path, method: str) -> None:
    experiment = point(method)
    set_up_torch(1, CPU)
    model, _ = train(experiment, tmp_path, CPU, lambda *_: None)
    digits = find_dataset(experiment.data.dataset).open(experiment.data)
    batch = TrainingClips(digits, CLIPS, experiment.model.frames, CLIPS, CLIPS, seed=0).make((0, 0))
    with torch.no_grad():
        answers = model(present(model, batch, CPU)).logits.argmax(dim=1)
    assert (answers == torch.from_numpy(batch.labels)).float().mean() == 1.0
