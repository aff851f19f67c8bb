"""Published figures, and ours beside those of the same kind: docs/published.md."""
