//! Pages of `docs/` that are made from the code: `fogflow docs configuration > docs/configuration.md`.

use clap::ValueEnum;

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// docs/configuration.md
    Configuration,
    /// docs/cli.md
    Cli,
}

/// Prints a page.
pub(crate) fn print(page: Page, command: clap::Command) -> anyhow::Result<()> {
    Ok(crate::output::print(&text(page, command))?)
}

fn text(page: Page, command: clap::Command) -> String {
    match page {
        Page::Configuration => format!("{CONFIGURATION}{}", fogflow_config::markdown()),
        Page::Cli => cli(command),
    }
}

const CONFIGURATION: &str = "\
# Configuration

<!-- Made by `fogflow docs configuration`. -->

One file, `config.json`, for all services; each reads what it needs. The keys are those of upstream's file, matched without regard to
case, and some of ours. `fogflow config check` says whether a file is valid, `fogflow config show` what takes effect.

Later ones win: defaults, the file (`-f`), the environment, `--set`.

| | |
|---|---|
| `FOGFLOW_WORKER__CAPACITY=4` | any key from the environment: `FOGFLOW_`, sections joined by two underscores |
| `FOGFLOW_RABBITMQ__PASSWORD_FILE=/run/secrets/bus` | the value is the content of a file; in the file itself: `\"password_file\": \"…\"` |
| `--set worker.capacity=4` | any key from the command line |

A wrong type or value ends the process with exit code 2 and one line that names the key and where it was set; an unknown key is a
warning. A node whose `my_hostip` is loopback listens on loopback only.

## Keys

";

fn cli(mut command: clap::Command) -> String {
    command.build();
    let mut out = String::from("# Command line\n\n<!-- Made by `fogflow docs cli`. -->\n\n");
    out.push_str("Exit codes: 0 done, 1 failed, 2 the user can mend it (options, configuration, names).\n");
    section(&mut command, "", &mut out);
    out
}

fn section(command: &mut clap::Command, parent: &str, out: &mut String) {
    let path = if parent.is_empty() { command.get_name().to_owned() } else { format!("{parent} {}", command.get_name()) };
    let help = command.clone().term_width(120).render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    out.push_str(&format!("\n## {path}\n\n```text\n{}\n```\n", lines.join("\n").trim()));
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        if let Some(sub) = command.find_subcommand_mut(&name) {
            section(sub, &path, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_pages_in_docs_are_those_that_the_code_makes() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        for (page, file) in [(Page::Configuration, "configuration.md"), (Page::Cli, "cli.md")] {
            let written = std::fs::read_to_string(docs.join(file)).unwrap_or_default();
            let made = text(page, crate::cli::Cli::command());
            assert!(written == made, "docs/{file} is out of date: run `fogflow docs {page:?}` and store what it prints");
        }
    }
}
