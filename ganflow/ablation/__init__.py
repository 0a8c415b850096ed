"""Variants × seeds of one experiment, and the table of a paper: read, check, run, compare, write.

ablation = reading.read("experiments/ablations/pix2pix_table1.gin")
plan = planning.plan(ablation, runs=Path("runs"))         # every variant checked and scheduled
"""
