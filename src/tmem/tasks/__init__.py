"""Benchmarks: how each is loaded, asked and scored."""
