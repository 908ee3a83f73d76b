"""The benchmark tasks, one file each, and their registry."""
