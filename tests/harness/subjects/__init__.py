"""Files of users: modules to be named on the command line."""
