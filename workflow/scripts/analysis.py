"""Compute time averages of one run, and compare its flows with them."""

from centralflows.analysis.time_series import analyse
from centralflows.jobs.job import job
from centralflows.store.trajectory import open_trajectory
from centralflows.store.zarr_writer import write_dataset

with job(snakemake) as this:
    trajectories = {name: open_trajectory(this.input(name)) for name in this.config["processes"]}
    analysis = analyse(trajectories, width=this.config["average_width"])
    write_dataset(this.output("analysis"), analysis.assign_attrs(this.attrs()))
    this.record("manifest", "analysis")
    print(analysis, file=this.log)
