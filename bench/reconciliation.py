"""The counters on networks whose cost everybody knows, as a table: `python -m bench.reconciliation`.

docs/measurement.md holds what this prints; a test compares them.
"""

from __future__ import annotations

import torch

from afnet.contract import lay_out_channels_last
from baselines.tsn import TSN
from bench.witnesses import Witness, all_witnesses

# In 1e9, of 224 x 224 pixels and 1000 classes, as torchvision's documentation of its weights lists them (GFLOPS there).
PUBLISHED: dict[str, float | None] = {
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "resnet101": 7.80,
    "mobilenetv2": 0.30,
    "mobilenetv3": 0.22,
    "efficientnet-lite0": None,
}
COLUMNS = ("network", "published", "closed form", "torch", "fvcore", "ptflops", "fvcore, all", "ptflops, all")


def table() -> str:
    """Markdown, in 1e9 multiply-adds of one picture; four decimals."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
    for name, published in PUBLISHED.items():
        torch.manual_seed(0)
        network = lay_out_channels_last(TSN(backbone=name, frames=1, classes=1000)).eval()
        found = all_witnesses(network, torch.randn(1, 1, 3, 224, 224))
        like = [found[counter].total for counter in ("layers", "torch", "fvcore", "ptflops")]
        everything = [with_beyond(found[counter]) for counter in ("fvcore", "ptflops")]
        counted = [f"{value / 1e9:.4f}" if value else "-" for value in (*like, *everything)]
        cells = ["" if published is None else f"{published:.2f}", *counted]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_beyond(witness: Witness) -> float:
    """What a counter says when it is taken by its word."""
    return witness.total + sum(witness.beyond.values())


if __name__ == "__main__":
    print(table())
