"""Benchmarks to run from the repository; what they measure stands in `rnnfast.bench`."""
