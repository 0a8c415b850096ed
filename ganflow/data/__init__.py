"""Datasets: HDF5 files, ``earth``, batches for a training step. Plain Python; gin files name what is here."""
