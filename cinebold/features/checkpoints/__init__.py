"""Networks of the transformers library, read from folders of weights and configuration on this machine."""
