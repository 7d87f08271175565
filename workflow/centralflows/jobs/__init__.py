"""Code that the scripts of Snakemake rules call: a job with its log, lock, checkpoints and manifest."""
