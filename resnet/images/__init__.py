"""Image files, and a JPEG codec that decodes any rectangle of a stored JPEG without decoding the rest."""
