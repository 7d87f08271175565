"""The discrete run of the optimizer."""


rule discrete:
    """Run the optimizer; store its trajectory and that of its midpoints."""
    input:
        unpack(dataset_of),
        unpack(start_of),
    output:
        discrete=directory(f"{RESULTS}/{{run}}/discrete.zarr"),
        discrete_manifest=f"{RESULTS}/{{run}}/discrete.zarr.manifest.json",
        midpoint=directory(f"{RESULTS}/{{run}}/midpoint.zarr"),
        midpoint_manifest=f"{RESULTS}/{{run}}/midpoint.zarr.manifest.json",
    log:
        f"{LOGS}/{{run}}/discrete.log",
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
            job_settings.trajectory(CONFIG, wildcards.run, "discrete")
        ),
        source=lambda wildcards: source(
            "discrete", job_settings.trajectory(CONFIG, wildcards.run, "discrete")
        ),
    script:
        "../scripts/discrete.py"
