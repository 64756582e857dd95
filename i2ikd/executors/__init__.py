"""Execution of an experiment's jobs: in this process, in local processes, on a Slurm cluster."""
