"""The stages of `dvc.yaml`: each reads files, writes files, and knows nothing else."""
