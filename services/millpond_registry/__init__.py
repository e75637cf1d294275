"""Who is in: contributors, devices, GPUs, gateways, terms; and who is alive."""
