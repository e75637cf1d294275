"""The stream library's ports on Kafka, with aiokafka."""
