"""Tiny trials: records of what recipes give with --tiny, of which nothing but that everything runs can be learnt."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.data.catalogue import find_dataset
from bench.experiment import Experiment
from reports.labels import method_labels

CLIPS = 32  # videos of training and of validation, at most
SUFFIX = ", tiny trial"


def is_trial(experiment: Experiment) -> bool:
    """Whether all that --tiny sets is as it sets it: few videos, one pass over them in batches of half of them.

    An experiment of the same fields that was written by hand is the same experiment, and as meaningless.
    """
    data, training = experiment.data, experiment.training
    few = data.train_clips <= CLIPS and data.val_clips <= CLIPS
    return few and training.epochs == 1 and training.batch == max(data.train_clips // 2, 1)


def labels(experiments: Sequence[Experiment]) -> list[str]:
    """As `method_labels`, but that trials beside others are told apart by this alone.

    What they were shortened by would be said of every other one, too.
    """
    trials = [is_trial(each) for each in experiments]
    mixed = {each.data.dataset for each, trial in zip(experiments, trials, strict=True) if not trial}
    found = dict[int, str]()
    for kind in (False, True):
        places = [place for place, trial in enumerate(trials) if trial is kind]
        for place, label in zip(places, method_labels([experiments[place] for place in places]), strict=True):
            suffix = SUFFIX if kind and experiments[place].data.dataset in mixed else ""
            found[place] = label + suffix
    return [found[place] for place in range(len(experiments))]


def without_trials(table: pd.DataFrame) -> pd.DataFrame:
    """What conclusions may be drawn from: all but the trials of a data set, unless it has nothing else."""
    trials = table["trial"].astype(bool)
    only = trials.groupby(table["dataset"]).transform("all")
    return table[~trials | only].reset_index(drop=True)


def note(table: pd.DataFrame) -> str:
    """Of a data set's records, how many are trials, and what that means; "" where none is."""
    trials = table[table["trial"].astype(bool)]
    if trials.empty:
        return ""
    count, of = len(trials), len(table)
    which = f"{count} of {of} records" if count < of else f"All {of} records" if of > 1 else "The only record"
    are, its = ("is a tiny trial", "its") if count == 1 else ("are tiny trials", "their")
    said = (
        f"{which} of {find_dataset(str(table['dataset'].iloc[0])).title} {are} (--tiny: two steps of training, at most "
        f"{CLIPS} videos): {its} accuracy means nothing."
    )
    return (
        said
        if count == of
        else f"{said} No sentence, pair or published figure makes use of {'it' if count == 1 else 'them'}."
    )
