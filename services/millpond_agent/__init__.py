"""Runs beside the GPU: reports it, takes jobs, calls the runner, signs results."""
