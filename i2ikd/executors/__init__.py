"""Where the jobs of an experiment run: in this process, in local processes, on a Slurm cluster."""
