"""Who is asking: a gateway by its API key, a device by its signature."""
