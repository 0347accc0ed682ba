"""An example of a plugin: one kind of each that cortexzoo takes from other packages."""
