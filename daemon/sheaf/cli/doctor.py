"""`sheaf doctor`: read-only checks of data, network and configuration, each with what to do."""

from __future__ import annotations

from dataclasses import asdict

import typer

from sheaf.cli.errors import ExitCode
from sheaf.cli.options import AsJson, DataDir, RootOptions, Session
from sheaf.cli.tables import printable

app = typer.Typer(invoke_without_command=True, help="Check data, network and configuration; changes nothing.")


@app.callback()
def doctor(ctx: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check data, network and configuration; changes nothing. Ends with 1 if something is wrong."""
    session = Session(ctx, data_dir, as_json)
    if ctx.invoked_subcommand is not None:
        ctx.obj = RootOptions(session.data_dir, session.as_json)
        return
    from sheaf.cli.checks import Verdict, run_checks

    findings = run_checks(session)

    def human() -> None:
        marks = {Verdict.OK: "ok  ", Verdict.WARNING: "warn", Verdict.FAILURE: "FAIL"}
        for finding in findings:
            typer.echo(f"{marks[finding.verdict]}  {finding.name}: {printable(finding.detail)}")
            if finding.advice:
                typer.echo(f"      → {printable(finding.advice)}")

    session.show([asdict(finding) for finding in findings], human)
    if any(finding.verdict is Verdict.FAILURE for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


@app.command("network")
def network(ctx: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show how the running daemon finds the network, how each peer is reached, and what to change."""
    from sheaf.cli.network import print_network

    session = Session(ctx, data_dir, as_json)
    found = session.client.get("/network")
    session.show(found, lambda: print_network(found))
    if any(finding["level"] == "problem" for finding in found["findings"]):
        raise typer.Exit(ExitCode.FAILED)
