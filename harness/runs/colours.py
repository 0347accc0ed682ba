"""The colours of all pictures, those of the dashboard in the terminal apart."""

BLUE, RED, GREEN, ORANGE, PURPLE, GREY = "#2F5D8C", "#C8423B", "#55A868", "#DD8452", "#8172B3", "#8C8C8C"
PALE_BLUE, DARK_GREY = "#9DB7D5", "#555555"
PALETTE = (BLUE, RED, GREEN, ORANGE, PURPLE, GREY)
"""In this order where a picture has one colour for each contender."""
CURRENT, SHORT_TERM, LONG_TERM = "#4C72B0", ORANGE, GREEN
SOURCES = {
    "current": CURRENT,
    "short_term": SHORT_TERM,
    "long_term": LONG_TERM,
    "window": CURRENT,
    "fast_weights": SHORT_TERM,
}
"""Of each memory source."""
