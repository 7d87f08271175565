"""Run the discrete optimizer; store its trajectory and that of its midpoints."""

from centralflows.jobs.job import job
from centralflows.jobs.trajectories import discrete

with job(snakemake) as this:
    discrete(this)
