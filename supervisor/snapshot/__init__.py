"""What walks, packs and unpacks file trees: blocking, in a worker process of its own."""
