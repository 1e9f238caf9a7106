"""``tinyfl doctor``: what is missing, and the fix for each."""

from __future__ import annotations

from dataclasses import asdict

import click

from tinyfl.errors import CheckError
from tinyfl_host.cli import console


@click.command(epilog=console.examples("tinyfl doctor", "tinyfl doctor --json"))
@console.json_option
def command(as_json: bool) -> None:
    """Check Python, packages, compiler, emulator, serial ports and disk, with
    the fix for each. Changes nothing and opens no port.

    Exit code 8 when something is missing that building or emulating needs.
    """
    from tinyfl_host.doctor import examine

    findings = examine()
    missing = [finding for finding in findings if finding.needed and not finding.ok]
    if as_json:
        console.document({"ok": not missing, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            state = "ok" if finding.ok else "MISSING" if finding.needed else "without"
            console.result(console.visible(f"{state:8}{finding.name}: {finding.found} ({finding.use})"))
            if not finding.ok:
                console.result(console.visible(f"        fix: {finding.fix}"))
    if missing:
        raise CheckError(f"missing: {', '.join(f.name for f in missing)}", "the fixes stand above, in order")
