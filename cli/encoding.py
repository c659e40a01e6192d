"""Output on terminals that cannot write every sign: a substitute stands for it, and nothing ends in a traceback."""

from __future__ import annotations

import codecs
import io
import sys

_HANDLER = "tfstiff.substitute"
_PLAIN = "tfstiff_ascii"
_SUBSTITUTES = {
    **dict.fromkeys("–−‐‑—━╸╺", "-"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("\u00a0\u2009\u202f", " "),
    **dict(zip("▁▂▃▄▅▆▇█", "_.-=+*%#", strict=True)),
    "ξ": "xi",
    "τ": "tau",
    "σ": "sigma",
    "×": "x",
    "·": "*",
    "•": "*",
    "±": "+/-",
    "…": "...",
    "→": "->",
    "√": "sqrt",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "∞": "inf",
    "²": "^2",
}


def write_in_any_encoding() -> None:
    """Makes standard output and standard error write substitutes for the signs that their encodings lack."""
    codecs.register_error(_HANDLER, _substitute)
    codecs.register(_plain_codec)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_PLAIN if is_ascii else None, errors=_HANDLER)


def writable(text: str, encoding: str | None) -> str:
    """A text with substitutes for the signs that an encoding lacks; for what is laid out by its length."""
    if encoding is None:
        return text
    codecs.register_error(_HANDLER, _substitute)
    return text.encode(encoding, _HANDLER).decode(encoding)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_SUBSTITUTES.get(sign, "?") for sign in signs), error.end


def _plain_codec(name: str) -> codecs.CodecInfo | None:
    """ASCII by another name: click takes a stream of ASCII for a mistake, and writes UTF-8 there."""
    if name != _PLAIN:
        return None
    ascii_ = codecs.lookup("ascii")
    return codecs.CodecInfo(
        name=_PLAIN,
        encode=ascii_.encode,
        decode=ascii_.decode,
        incrementalencoder=ascii_.incrementalencoder,
        incrementaldecoder=ascii_.incrementaldecoder,
        streamwriter=ascii_.streamwriter,
        streamreader=ascii_.streamreader,
    )
