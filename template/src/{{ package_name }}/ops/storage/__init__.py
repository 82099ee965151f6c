"""Places beyond this machine: DVC's remote in one, and files to be scored from and to one."""
