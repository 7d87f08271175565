"""Integrate a flow beside the stored discrete run; store its trajectory."""

from centralflows.data.examples import load
from centralflows.experiment import build
from centralflows.jobs import job
from centralflows.pipeline import store_flow
from centralflows.runtime import prepare
from centralflows.schema import Trajectory

with job(snakemake) as this:
    settings = Trajectory.model_validate(this.config)
    device = prepare(snakemake.config.get("device", "auto"), settings.threads)
    experiment = build(settings.run, load(this.input("dataset")), device)
    store_flow(
        experiment,
        snakemake.wildcards.flow,
        this.output("flow"),
        discrete=this.input("discrete"),
        weights_stride=settings.run.weights_stride,
        attrs=this.attrs(),
        log=this.log,
    )
    this.seal("seal", "flow", device=str(device), threads=settings.threads)
