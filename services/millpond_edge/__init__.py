"""The internet's door: authenticates, stamps the time of arrival, carries."""
