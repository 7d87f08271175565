"""The flows, and the comparison of preconditioners along the central flow."""

from typing import get_args

from centralflows.config.run import Process


rule flow:
    """Integrate one flow and compare it with the discrete run."""
    input:
        unpack(dataset_of),
        **recorded(discrete=f"{RESULTS}/{{run}}/discrete.zarr"),
    output:
        flow=directory(f"{RESULTS}/{{run}}/{{flow}}.zarr"),
        manifest=f"{RESULTS}/{{run}}/{{flow}}.zarr.manifest.json",
    log:
        f"{LOGS}/{{run}}/{{flow}}.log",
    wildcard_constraints:
        flow="|".join(p for p in get_args(Process) if p != "discrete"),
    group:
        group_of
    conda:
        "../../envs/environment.yaml"
    threads: CONFIG.threads
    resources:
        gpu=gpus(),
        mem_mb=megabytes,
        runtime=flow_minutes,
        cpus_per_task=CONFIG.threads,
    params:
        cfg=lambda wildcards: sorted_json(
            job_settings.trajectory(CONFIG, wildcards.run, wildcards.flow)
        ),
        source=lambda wildcards: source(
            "flow", job_settings.trajectory(CONFIG, wildcards.run, wildcards.flow)
        ),
    script:
        "../scripts/flow.py"


rule speeds:
    """Find the stationary state and three preconditioners at points of the central flow."""
    input:
        unpack(dataset_of),
        **recorded(central=f"{RESULTS}/{{run}}/central.zarr"),
    output:
        speeds=directory(f"{RESULTS}/{{run}}/speeds.zarr"),
        manifest=f"{RESULTS}/{{run}}/speeds.zarr.manifest.json",
    log:
        f"{LOGS}/{{run}}/speeds.log",
    group:
        group_of
    conda:
        "../../envs/environment.yaml"
    threads: CONFIG.threads
    resources:
        gpu=gpus(),
        mem_mb=megabytes,
        runtime=minutes("speeds"),
        cpus_per_task=CONFIG.threads,
    params:
        cfg=lambda wildcards: sorted_json(job_settings.speeds(CONFIG, wildcards.run)),
        source=lambda wildcards: source(
            "speeds", job_settings.speeds(CONFIG, wildcards.run)
        ),
    script:
        "../scripts/speeds.py"
