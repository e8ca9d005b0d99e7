"""What commands say to people: on standard error, as standard output may be a film."""

from rich.console import Console

console = Console(stderr=True, highlight=False)


def say(sentence: str) -> None:
    """Says something in passing."""
    console.print(sentence, style="dim", markup=False, soft_wrap=True)
