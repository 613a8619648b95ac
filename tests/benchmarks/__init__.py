"""Measurements, run by hand: scripts with `--json`, never tests.  Compare their ratios, not their seconds."""
