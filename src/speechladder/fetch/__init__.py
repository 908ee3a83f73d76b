"""Files that a run needs from elsewhere: downloads that resume, archives, and what is inside them."""
