"""Measurements for docs/numerics.md. Not part of a profile: `snakemake --cores 1 agreement` or `discretisation`."""


rule agreement:
    """Compare the flows with trajectories of the published implementation."""
    input:
        expand("tests/reference/{run}.npz", run=("gd", "scalar-rmsprop", "rmsprop")),
    output:
        measured="results/agreement.json",
        manifest="results/agreement.json.manifest.json",
    log:
        "logs/agreement.log",
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json({"threads": 1}),
        source=source("agreement"),
    script:
        "../scripts/agreement.py"


rule discretisation:
    """Measure errors of the flows' discretisations against fine solutions. Takes some minutes."""
    output:
        measured="results/discretisation.json",
        manifest="results/discretisation.json.manifest.json",
    log:
        "logs/discretisation.log",
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=sorted_json({"threads": 1}),
        source=source("discretisation"),
    script:
        "../scripts/discretisation.py"
