"""Methods compared on a data set over several seeds: their runs, results, costs and tables."""
