"""A user's own `nn.Module` under test: named by a file and a factory, and run in a process of its own."""
