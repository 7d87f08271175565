"""Figures: one rule each, so that each can be asked for by name and carries its own caption."""

for slug in CONFIG.figures:

    rule:
        name:
            f"figure_{slug.replace('-', '_')}"
        input:
            **figure_inputs(slug),
        output:
            svg=report(
                f"{DRAWN}/{slug}.svg",
                caption=f"../report/{CONFIG.figures[slug].draw or slug}.rst",
                category=drawing(slug).category,
                labels={"figure": slug, "claim": drawing(slug).claim},
            ),
            png=f"{DRAWN}/{slug}.png",
            seal=f"{DRAWN}/{slug}.seal.json",
        log:
            f"{LOGS}/figures/{slug}.log",
        conda:
            "../../envs/environment.yaml"
        params:
            cfg=figure_config(slug),
            about=about(slug),
            source=source_digest("workflow/scripts/figure.py"),
        script:
            "../scripts/figure.py"
