"""What each process costs; no part of a profile, asked for by name."""


rule benchmark:
    """Gradient equivalents per process and network, growth, memory."""
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
