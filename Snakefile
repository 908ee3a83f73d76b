"""The workflow is workflow/Snakefile; this file lets `snakemake` find it from the top folder. Usage: README.md."""


include: "workflow/Snakefile"


# Snakemake forgets the default target of an included file.
workflow.default_target = "all"
