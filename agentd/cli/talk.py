"""Lines for a person beside the data: styled on a terminal, plain elsewhere."""

from typing import TYPE_CHECKING, TextIO

from agentd.cli.text import clean
from agentd.errors import AgentdError

if TYPE_CHECKING:
    import rich.console
    import rich.status


class Talk:
    """Writes lines to a stream, and shows on a terminal what is being waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last_cut = ""
        self.console: rich.console.Console | None = None
        """The terminal; None when the stream is none."""
        self._status: rich.status.Status | None = None
        if stream.isatty():
            from rich.console import Console  # noqa: PLC0415

            self.console = Console(file=stream, highlight=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees this as it comes."""
        return self.console is not None

    def say(self, text: str, style: str = "") -> None:
        """Write a line. Colours follow NO_COLOR and TERM, as rich reads them."""
        self.settle()
        if self.console is None:
            self._stream.write(clean(text) + "\n")
            self._stream.flush()
            return
        from rich.text import Text  # noqa: PLC0415

        self.console.print(Text(clean(text), style=style))

    def prompt(self, text: str) -> None:
        """Write what a person is to answer behind."""
        self.settle()
        self._stream.write(clean(text))
        self._stream.flush()

    def cut(self, error: AgentdError) -> None:
        """Mention that a stream was cut and is resumed; an outage repeats itself, this does not."""
        if error.message != self._last_cut:
            self._last_cut = error.message
            self.say(f"({error.message}; trying again)", "dim")

    def wait_for(self, what: str) -> None:
        """Show what is being waited for, on a terminal only, until something is said."""
        if self.console is not None and self._status is None:
            from rich.text import Text  # noqa: PLC0415

            self._status = self.console.status(Text(clean(what), style="dim"), spinner="dots")
            self._status.start()

    def settle(self) -> None:
        """Stop showing what is being waited for."""
        status, self._status = self._status, None
        if status is not None:
            status.stop()
