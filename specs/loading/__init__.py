"""From spec files to validated specs, and back to text: YAML, merging, overrides, origins, errors, schemas."""
