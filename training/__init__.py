"""What makes `streamsrv-small`: songs made by rules, a small HTDemucs trained on them, and how good it became."""
