"""Guides: what may be written next, as masks over tokens. One file per way of saying what an answer looks like."""
