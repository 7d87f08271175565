"""Make the examples of one run."""

from pydantic import TypeAdapter

from centralflows import data, schema
from centralflows.data.examples import save
from centralflows.jobs import job

with job(snakemake) as this:
    files = {name: this.file(name) for name, _ in snakemake.input.items()}
    dataset = data.build(TypeAdapter(schema.Dataset).validate_python(this.config["dataset"]), files)
    save(this.output("dataset"), dataset)
    about = {name: getattr(dataset, name) for name in ("description", "source", "licence")}
    this.seal("seal", "dataset", dataset=about)
    print(dataset.description, file=this.log)
