"""The discrete optimizer."""


rule discrete:
    """The optimizer's own trajectory and that of its midpoints."""
    input:
        unpack(dataset_of),
        unpack(start_of),
    output:
        discrete=directory(f"{RESULTS}/{{run}}/discrete.zarr"),
        discrete_seal=f"{RESULTS}/{{run}}/discrete.zarr.seal.json",
        midpoint=directory(f"{RESULTS}/{{run}}/midpoint.zarr"),
        midpoint_seal=f"{RESULTS}/{{run}}/midpoint.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/discrete.log",
    benchmark:
        f"benchmarks/{CONFIG.profile}/{{run}}/discrete.tsv"
    group:
        group_of
    conda:
        "../../envs/environment.yaml"
    threads: CONFIG.threads
    resources:
        gpu=gpus(),
        mem_mb=megabytes,
        runtime=minutes("discrete"),
        cpus_per_task=CONFIG.threads,
    params:
        cfg=lambda wildcards: sorted_json(
            settings.trajectory(CONFIG, wildcards.run, "discrete")
        ),
        source=source_digest("workflow/scripts/discrete.py"),
    script:
        "../scripts/discrete.py"
