"""The Fréchet inception distance of all outputs to real pictures."""
