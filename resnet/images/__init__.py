"""Image files and the JPEG codec: any rectangle of a stored JPEG, decoded without the rest."""
