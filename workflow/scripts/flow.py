"""Integrate a flow beside the stored discrete run; store its trajectory."""

from centralflows.data.examples import load
from centralflows.experiment import build
from centralflows.jobs import job
from centralflows.pipeline import staged, store_flow
from centralflows.runtime import prepare
from centralflows.schema import Trajectory

with job(snakemake) as this:
    settings = Trajectory.model_validate(this.config)
    device = prepare(snakemake.config.get("device", "auto"), settings.threads)
    experiment = build(settings.run, load(this.input("dataset")), device)
    discrete = this.input("discrete")
    with staged(this, "flow", device) as staging:
        store_flow(
            experiment,
            snakemake.wildcards.flow,
            this.output("flow"),
            discrete=discrete,
            weights_stride=settings.run.weights_stride,
            attrs=this.attrs(),
            staging=staging,
            truncate=settings.run.on_divergence == "truncate",
            log=this.log,
        )
        this.seal("seal", "flow", device=str(device), threads=settings.threads, resumed=staging.resumed)
