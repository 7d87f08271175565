"""Integrate one flow and compare it with the stored discrete run; store its trajectory."""

from centralflows.jobs.job import job
from centralflows.jobs.trajectories import flow

with job(snakemake) as this:
    flow(this)
