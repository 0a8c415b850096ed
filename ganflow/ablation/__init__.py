"""Variants × seeds of one experiment, and the table of a paper: read, check, run, compare, write.

ablation = reading.read("experiments/ablations/pix2pix_table1.gin")
plan = planning.plan_of(ablation)                                             # every variant checked and scheduled
driver.ablate(ablation, Path("runs"), again="ganflow ablate pix2pix_table1.gin")
"""
