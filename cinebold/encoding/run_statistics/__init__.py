"""Statistics of runs on disk: accumulated anywhere, merged, fitted later."""
