"""What the campaign and the plugin inside pytest have to agree on; pytest itself is not imported here."""

PLUGIN = "cortexzoo.harness.regression.planted_plugin"
PLANTED, NOTES = "CORTEXZOO_PLANTED", "CORTEXZOO_TEST_NOTES"
"""The name of the change, if there is one; and the file for what became of the tests."""
