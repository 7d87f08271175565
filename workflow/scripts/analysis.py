"""Analyse the trajectories of one run."""

from centralflows.jobs import job
from centralflows.metrics import analyse
from centralflows.trajectory import open_trajectory
from centralflows.writer import write_dataset

with job(snakemake) as this:
    trajectories = {name: open_trajectory(this.input(name)) for name in this.config["processes"]}
    analysis = analyse(trajectories, width=this.config["average_width"])
    write_dataset(this.output("analysis"), analysis.assign_attrs(this.attrs()))
    this.seal("seal", "analysis")
    print(analysis, file=this.log)
