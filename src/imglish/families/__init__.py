"""One file per family (one model type): how it loads, is prompted, writes regions. Listing them imports nothing."""
