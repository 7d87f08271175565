"""Compare preconditioners along the stored central flow of one run."""

from centralflows.jobs.compare_preconditioners import compare_preconditioners
from centralflows.jobs.job import job

with job(snakemake) as this:
    compare_preconditioners(this)
