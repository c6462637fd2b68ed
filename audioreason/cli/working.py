"""Commands about jobs."""

import typer

app = typer.Typer(help="Background jobs.", no_args_is_help=True, rich_markup_mode=None)
