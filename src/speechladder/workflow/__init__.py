"""What runs the workflow: a checked configuration, where its sources are, and what a run does at its start and end."""
