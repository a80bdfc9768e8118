"""Types, geometry, results, images, errors, registry and extras: what every floor above stands on. No torch."""
