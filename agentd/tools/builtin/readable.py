"""Turn a page of HTML into readable text. Run as a script, in a process of its own.

Pages come from strangers, and a parser in pure Python can be kept busy: 100 KB of misnested tags
take a second. A process can be limited and killed, and leaves the daemon's interpreter alone.
It knows nothing of agentd: `python -I readable.py CHARSET MAX_CHARACTERS`, the page at stdin, and
JSON at stdout.
"""

import json
import resource
import sys

from justhtml import Drop, JustHTML

MEMORY_BYTES = 1024**3
CPU_S = 10
UNREADABLE = "script, style, noscript, template, svg, math, iframe, object, img, input, select"
"""Elements whose text or picture is not for readers."""


def convert(page: bytes, charset: str | None) -> tuple[str, str]:
    """Return a page's title, and its content as Markdown."""
    document = JustHTML(page, encoding=charset, transforms=[Drop(UNREADABLE)])
    title = document.query_one("title")
    return title.to_text() if title else "", document.to_markdown()


def main() -> None:
    """Convert the page at stdin."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    charset, limit = sys.argv[1] or None, int(sys.argv[2])
    title, text = convert(sys.stdin.buffer.read(), charset)
    answer = {"title": title[:limit], "text": text[:limit], "truncated": len(text) > limit}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
