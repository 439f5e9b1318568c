"""The network: layers, and ResNet of every depth."""
