"""Experiments of many methods and seeds, what they cost, and their tables."""
