"""Datasets."""


rule cifar10:
    """Obtain the full CIFAR-10, for runs that need more than the subset in the repository."""
    output:
        "results/cifar10.npz",
    log:
        "logs/cifar10.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/cifar10.py"


wildcard_constraints:
    run="|".join(CONFIG.runs),
    dataset="|".join(DATASETS),


rule dataset:
    """Make standardised examples. Runs with the same settings of the dataset share them."""
    input:
        unpack(dataset_inputs),
    output:
        dataset=f"{RESULTS}/datasets/{{dataset}}.npz",
        manifest=f"{RESULTS}/datasets/{{dataset}}.npz.manifest.json",
    log:
        f"{LOGS}/datasets/{{dataset}}.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=lambda wildcards: sorted_json(
            job_settings.dataset(CONFIG.runs[DATASETS[wildcards.dataset]])
        ),
        source=lambda wildcards: source(
            "dataset", job_settings.dataset(CONFIG.runs[DATASETS[wildcards.dataset]])
        ),
    script:
        "../scripts/dataset.py"
