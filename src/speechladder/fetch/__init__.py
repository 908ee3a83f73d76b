"""Files from outside a run: downloads that resume, archives, and the files inside archives."""
