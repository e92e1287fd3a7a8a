"""The parts of the model that learn: the glimpse network, encoders of patches, locators."""
