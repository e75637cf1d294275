"""What gateways ask over Kafka, on a topic of their own each: read, validated, carried to ``gateway.jobs.v1``."""
