"""Make one dataset."""

from pydantic import TypeAdapter

from centralflows.config.datasets import AnyDataset
from centralflows.jobs.job import job
from centralflows.problems.data.dataset import save
from centralflows.problems.data.make_dataset import make_dataset

with job(snakemake) as this:
    files = {name: this.file(name) for name, _ in snakemake.input.items()}
    dataset = make_dataset(TypeAdapter(AnyDataset).validate_python(this.config["dataset"]), files)
    save(this.output("dataset"), dataset)
    about = {name: getattr(dataset, name) for name in ("description", "source", "licence")}
    this.record("manifest", "dataset", dataset=about)
    print(dataset.description, file=this.log)
