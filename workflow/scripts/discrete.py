"""Run the discrete optimizer; store its trajectory and that of its midpoints."""

from centralflows.data.examples import load
from centralflows.experiment import build
from centralflows.jobs import job
from centralflows.pipeline import begin, staged, store_discrete
from centralflows.runtime import prepare
from centralflows.schema import Trajectory

with job(snakemake) as this:
    settings = Trajectory.model_validate(this.config)
    device = prepare(snakemake.config.get("device", "auto"), settings.threads)
    dataset, start = load(this.input("dataset")), None
    if settings.source is not None:
        start = begin(settings, dataset, device, this.input("source_discrete"), this.input("source_midpoint"))
    experiment = build(settings.run, dataset, device, start)
    with staged(this, "discrete", device) as staging:
        store_discrete(
            experiment,
            this.output("discrete"),
            this.output("midpoint"),
            weights_stride=settings.run.weights_stride,
            attrs=this.attrs(),
            staging=staging,
            truncate=settings.run.on_divergence == "truncate",
            log=this.log,
        )
        for name in ("discrete", "midpoint"):
            this.seal(f"{name}_seal", name, device=str(device), threads=settings.threads, resumed=staging.resumed)
