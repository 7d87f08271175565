"""The flows."""

from typing import get_args


rule flow:
    """One flow, beside the discrete run."""
    input:
        unpack(dataset_of),
        **sealed(discrete=f"{RESULTS}/{{run}}/discrete.zarr"),
    output:
        flow=directory(f"{RESULTS}/{{run}}/{{flow}}.zarr"),
        seal=f"{RESULTS}/{{run}}/{{flow}}.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/{{flow}}.log",
    benchmark:
        f"benchmarks/{CONFIG.profile}/{{run}}/{{flow}}.tsv"
    wildcard_constraints:
        flow="|".join(p for p in get_args(configuration.Process) if p != "discrete"),
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
            settings.trajectory(CONFIG, wildcards.run, wildcards.flow)
        ),
        source=source_digest("workflow/scripts/flow.py"),
    script:
        "../scripts/flow.py"


rule speeds:
    """The stationary state and three preconditioners along the central flow."""
    input:
        unpack(dataset_of),
        **sealed(central=f"{RESULTS}/{{run}}/central.zarr"),
    output:
        speeds=directory(f"{RESULTS}/{{run}}/speeds.zarr"),
        seal=f"{RESULTS}/{{run}}/speeds.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/speeds.log",
    benchmark:
        f"benchmarks/{CONFIG.profile}/{{run}}/speeds.tsv"
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
        cfg=lambda wildcards: sorted_json(settings.speeds(CONFIG, wildcards.run)),
        source=source_digest("workflow/scripts/speeds.py"),
    script:
        "../scripts/speeds.py"
