"""Make the examples of one run."""

from pathlib import Path

from pydantic import TypeAdapter

from centralflows import config, data
from centralflows.data.examples import save
from centralflows.jobs import job

with job(snakemake) as this:
    full = snakemake.input.get("cifar10")
    dataset = data.build(TypeAdapter(config.Dataset).validate_python(this.config), Path(full) if full else None)
    save(this.output("dataset"), dataset)
    this.seal("seal", "dataset")
    print(dataset.description, file=this.log)
