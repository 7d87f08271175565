"""The discrete optimizer."""


rule discrete:
    """The optimizer's own trajectory and that of its midpoints."""
    input:
        unpack(start_inputs),
    output:
        discrete=directory(f"{RESULTS}/{{run}}/discrete.zarr"),
        discrete_seal=f"{RESULTS}/{{run}}/discrete.zarr.seal.json",
        midpoint=directory(f"{RESULTS}/{{run}}/midpoint.zarr"),
        midpoint_seal=f"{RESULTS}/{{run}}/midpoint.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/discrete.log",
    benchmark:
        f"benchmarks/{CONFIG.profile}/{{run}}/discrete.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        gpu=gpus(),
    params:
        cfg=trajectory_config("discrete"),
        source=source_digest("workflow/scripts/discrete.py"),
    script:
        "../scripts/discrete.py"
