"""Datasets, one file each; a study config names a dataset by its file name."""
