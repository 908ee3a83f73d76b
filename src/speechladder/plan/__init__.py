"""What a run would take, before anything is spent: scripts/plan.py."""
