"""results/report.html: a run on one page that needs nothing beside it. docs/report.md says what stands on it."""
