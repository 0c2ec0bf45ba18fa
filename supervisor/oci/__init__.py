"""OCI images as pure values: digests, references, configs, manifests, chain ids."""
