"""Cluster profiles: what a file and flags say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import UserError
from sweeps.clusters import Resources, find_cluster

PROFILE = """
[big]
partition = "gpu"
gpus = 4
nodes = 2
time = "1-00:00:00"
setup = ["module load cuda", "export A=1"]

[big.timing]
gpu_type = "h100"
time = "30"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFNET_BENCH_CONFIG", str(tmp_path / "config"))
    return tmp_path


def test_a_profile_says_what_jobs_ask_for_and_timing_what_is_otherwise(folder: Path) -> None:
    (folder / "clusters.toml").write_text(PROFILE)
    cluster = find_cluster("big", {})
    training, timing = cluster.training, cluster.timing
    assert (training.partition, training.processes, training.all_gpus, training.minutes) == ("gpu", 8, 8, 1440)
    assert training.setup == "module load cuda\nexport A=1" and not training.exclusive
    assert (timing.partition, timing.nodes, timing.tasks_per_node, timing.gpus) == ("gpu", 1, 1, 1)
    assert (timing.gpu_type, timing.minutes, timing.exclusive) == ("h100", 30, True)


def test_flags_come_before_the_profile_in_both(folder: Path) -> None:
    (folder / "clusters.toml").write_text(PROFILE)
    cluster = find_cluster("big", {"partition": "other", "nodes": 1, "gpus": 2})
    assert (cluster.training.partition, cluster.timing.partition) == ("other", "other")
    assert (cluster.training.nodes, cluster.training.gpus, cluster.timing.gpus) == (1, 2, 1)


def test_the_working_folders_file_comes_before_the_users(folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / "config" / "clusters.toml").write_text("[big]\npartition = 'a'\n[own]\npartition = 'b'\n")
    assert find_cluster("big", {}).training.partition == "a"
    (folder / "clusters.toml").write_text(PROFILE)
    assert find_cluster("big", {}).training.partition == "gpu"
    assert find_cluster("own", {}).training.partition == "b"


def test_slurm_without_a_profile_has_its_own_defaults() -> None:
    cluster = find_cluster("slurm", {})
    assert cluster.training == Resources() and cluster.timing.exclusive


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[big]\npartitoin = 'gpu'\n", r"Unknown field 'partitoin' in clusters.toml: big.*Did you mean 'partition'"),
        ("[big.timing]\nexlusive = true\n", r"Unknown field 'exlusive' in clusters.toml: big.timing"),
        ("[big]\ngpus = -1\n", r"clusters.toml: big: gpus is -1"),
        ("[big]\ngpus = 'two'\n", r"clusters.toml: big: gpus is 'two'"),
        ("[big]\ntime = 'long'\n", r"clusters.toml: big: time is 'long'; expected minutes"),
        ("[big]\ntime = '0:00:00'\n", r"clusters.toml: big: time is '0:00:00'; expected at least a minute"),
        ("[big]\nmemory = 'much'\n", r"clusters.toml: big: memory is 'much'"),
        ("[big]\ntiming = 3\n", r"big.timing is 3; expected a table"),
        ("[big.timing]\nnodes = 2\n", r"2 nodes and 1 tasks; times are of one process"),
        ("big = 3\n", r"has big = 3; expected a table"),
        ("[local]\ngpus = 1\n", r"describes local, which is this machine"),
        ("[big\n", r"clusters.toml cannot be read"),
    ],
)
def test_what_is_wrong_with_a_profile_is_named(folder: Path, text: str, words: str) -> None:
    (folder / "clusters.toml").write_text(text)
    with pytest.raises(UserError, match=words):
        find_cluster("big", {})


def test_an_unknown_cluster_is_named_with_those_that_there_are(folder: Path) -> None:
    (folder / "clusters.toml").write_text(PROFILE)
    with pytest.raises(UserError, match=r"Unknown cluster 'bgi'.*Did you mean 'big'.*big, local, slurm"):
        find_cluster("bgi", {})


@pytest.mark.parametrize(
    ("text", "minutes"), [("30", 30), ("4:00:00", 240), ("0:10", 10), ("0:10:01", 11), ("1-12:00:00", 2160)]
)
def test_times_are_those_of_sbatch_but_for_whole_minutes(text: str, minutes: int) -> None:
    assert Resources(time=text).minutes == minutes


def test_minutes_need_no_quotes_and_a_wrong_flag_is_named_with_its_cluster(folder: Path) -> None:
    (folder / "clusters.toml").write_text("[big]\ntime = 30\n[big.timings]\ntime = 3\n[small]\ntime = 30\n")
    assert find_cluster("small", {}).timing.minutes == 30
    with pytest.raises(UserError, match=r"clusters.toml: big; tables inside it: \[NAME.timing\] alone"):
        find_cluster("big", {})
    with pytest.raises(UserError, match="--cluster slurm: time is 'soon'; expected minutes"):
        find_cluster("slurm", {"time": "soon"})
