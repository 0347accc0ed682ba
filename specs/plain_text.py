"""Text from outside, made safe to print: no escape sequences, no direction marks, no endless lines."""

LONGEST_LINE = 600
MOST_LINES = 20


def plain(text: str, keep: str = "\n") -> str:
    """`text` with every character that a terminal would obey rather than show written as an escape: `\\x1b`, `\\u202e`.

    Letters and spaces of every script stay, and so do the characters in `keep`. Applied twice it changes nothing.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep or _is_space(char) else _escape(char) for char in text)


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """`text` as one plain line of at most `longest` characters: what is too long loses its middle."""
    line = plain(text, keep="")
    if len(line) <= longest:
        return line
    ending = longest // 3
    return f"{line[: longest - ending - 3]} … {line[-ending:]}"


def bounded(lines: list[str]) -> list[str]:
    """At most `MOST_LINES` plain lines; the last one counts those that were left out."""
    split = [one_line(part) for line in lines for part in line.split("\n")]
    if len(split) <= MOST_LINES:
        return split
    return [*split[: MOST_LINES - 1], f"and {len(split) - MOST_LINES + 1} more lines like these"]


def _is_space(char: str) -> bool:
    """The spaces of other scripts, which Python counts as not printable; line and paragraph separators are none."""
    return char.isspace() and char > "\x9f" and char not in "\u2028\u2029"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
