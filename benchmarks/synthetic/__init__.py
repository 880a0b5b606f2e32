"""Scenes of tubes, masks with mistakes, and stitching in memory, for benchmarks and tests of linking and stitching."""
