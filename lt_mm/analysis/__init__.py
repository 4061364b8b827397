"""What helps a data set: alpha frontier, diagnosis, comparison of methods, for any mm model."""
