"""Comparisons of methods and points on the same videos: two sides, or every pair of methods."""
