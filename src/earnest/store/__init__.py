"""SQL by noun: rows become domain values here, and nowhere else."""
