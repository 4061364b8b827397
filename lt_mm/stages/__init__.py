"""Several trainings, such as that of a teacher, as one command: read, plan, run."""
