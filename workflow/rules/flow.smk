"""The flows."""


rule flow:
    """The stable or the central flow, beside the discrete run."""
    input:
        **sealed("dataset", f"{RESULTS}/{{run}}/dataset.npz"),
        **sealed("discrete", f"{RESULTS}/{{run}}/discrete.zarr"),
    output:
        flow=directory(f"{RESULTS}/{{run}}/{{flow}}.zarr"),
        seal=f"{RESULTS}/{{run}}/{{flow}}.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/{{flow}}.log",
    benchmark:
        f"benchmarks/{CONFIG.profile}/{{run}}/{{flow}}.tsv"
    wildcard_constraints:
        flow="stable|central|ablated",
    conda:
        "../../envs/environment.yaml"
    resources:
        gpu=gpus(),
    params:
        cfg=flow_config,
        source=source_digest("workflow/scripts/flow.py"),
    script:
        "../scripts/flow.py"
