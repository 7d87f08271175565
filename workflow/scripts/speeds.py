"""Compare preconditioners along the stored central flow of one run."""

from centralflows.data.examples import load
from centralflows.experiment import build
from centralflows.jobs import job
from centralflows.pipeline import store_speeds
from centralflows.runtime import prepare
from centralflows.schema import Trajectory

with job(snakemake) as this:
    settings = Trajectory.model_validate(this.config)
    device = prepare(snakemake.config.get("device", "auto"), settings.threads)
    experiment = build(settings.run, load(this.input("dataset")), device)
    store_speeds(
        experiment,
        this.input("central"),
        this.output("speeds"),
        every=settings.run.stationary_every,
        attrs=this.attrs(),
        log=this.log,
    )
    this.seal("seal", "speeds", device=str(device), threads=settings.threads)
