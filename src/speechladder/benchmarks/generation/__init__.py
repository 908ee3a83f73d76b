"""Items that the world generates for each task."""
