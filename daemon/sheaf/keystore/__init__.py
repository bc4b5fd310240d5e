"""Where device keys are kept."""
