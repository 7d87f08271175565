"""The cost of each process. Not part of a profile: `snakemake --cores 1 benchmark`."""


rule benchmark:
    """Measure gradient equivalents per process and network, growth of the cost, and memory."""
    output:
        measured="results/benchmarks/benchmark.json",
        table="results/benchmarks/benchmark.md",
        figure="results/benchmarks/benchmark.svg",
        manifest="results/benchmarks/benchmark.json.manifest.json",
    log:
        "logs/benchmark.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        gpu=gpus(),
    params:
        cfg=sorted_json({"threads": 1, "device": CONFIG.device}),
        source=source("benchmark"),
    script:
        "../scripts/benchmark.py"
