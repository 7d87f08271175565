"""Analysis of stored trajectories."""


rule analysis:
    """Time averages of the discrete run, and how the flows compare with them."""
    input:
        unpack(analysis_inputs),
    output:
        analysis=directory(f"{RESULTS}/{{run}}/analysis.zarr"),
        seal=f"{RESULTS}/{{run}}/analysis.zarr.seal.json",
    log:
        f"{LOGS}/{{run}}/analysis.log",
    conda:
        "../../envs/environment.yaml"
    params:
        cfg=analysis_config,
        source=source_digest("workflow/scripts/analysis.py"),
    script:
        "../scripts/analysis.py"
