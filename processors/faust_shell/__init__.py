"""The processor on Kafka: Faust around `PartitionProcessor` (design §6). The only folder of `processors` with I/O."""
