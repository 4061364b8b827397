"""What acts during a run: hooks, launching, several processes, checks of the data."""
