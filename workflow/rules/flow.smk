"""The flows."""


rule flow:
    """The stable or the central flow, beside the discrete run."""
    input:
        **sealed("dataset", f"{RESULTS}/{{run}}/dataset.npz"),
        **sealed("discrete", f"{RESULTS}/{{run}}/discrete.zarr"),
    output:
        flow=directory(f"{RESULTS}/{{run}}/{{flow}}.zarr"),
        seal=f"{RESULTS}/{{run}}/{{flow}}.zarr.seal.json",
    wildcard_constraints:
        flow="stable|central",
    log:
        f"{LOGS}/{{run}}/{{flow}}.log",
    benchmark:
        f"benchmarks/{CONFIG.profile}/{{run}}/{{flow}}.tsv"
    params:
        cfg=flow_config,
        source=source_digest("workflow/scripts/flow.py"),
    resources:
        gpu=gpus(),
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/flow.py"
