"""results/report.html: a run on one page that needs nothing beside it. Schema: docs/page.md."""
