//! `fogflow completions`

use clap_complete::Shell;

/// Prints the completions of a shell.
pub(crate) fn print(shell: Shell, command: &mut clap::Command) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, command, "fogflow", &mut text);
    Ok(crate::output::print(&String::from_utf8_lossy(&text))?)
}
