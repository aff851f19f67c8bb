"""Clips and their labels: the embedded data set, frame sampling, batches."""
