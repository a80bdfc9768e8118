"""Pictures with exact truth, drawn from a seed: one file per kind of scene. No torch."""
