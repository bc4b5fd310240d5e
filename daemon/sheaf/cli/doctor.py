"""`sheaf doctor`: read-only checks of data, network and configuration, each with what to do."""

from __future__ import annotations

from dataclasses import asdict

import typer

from sheaf.cli.errors import ExitCode
from sheaf.cli.options import AsJson, DataDir, Session
from sheaf.cli.tables import printable


def doctor(ctx: typer.Context, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check data, network and configuration; changes nothing. Ends with 1 if something is wrong."""
    from sheaf.cli.checks import Verdict, run_checks

    session = Session(ctx, data_dir, as_json)
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
