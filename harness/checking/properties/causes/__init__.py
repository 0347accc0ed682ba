"""Where in a model a defect begins: its submodules are watched, and the first that shows it is named."""
