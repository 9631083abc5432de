//! Printing: tables for people, JSON and YAML for programs.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// Time between two looks of `--watch`.
const LOOK: Duration = Duration::from_secs(1);
/// A cell longer than this is cut: what is longer is for `--output json`.
const WIDEST: usize = 72;

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(shortened).collect());
    }

    /// The table as text; each column as wide as its widest cell.
    pub(crate) fn text(&self) -> String {
        let mut widths: Vec<usize> = self.headings.iter().map(|heading| heading.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            out.push_str(line.join("  ").trim_end());
            out.push('\n');
        }
        out
    }
}

fn shortened(cell: String) -> String {
    let cell: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cell.chars().count() <= WIDEST {
        return cell;
    }
    cell.chars().take(WIDEST - 1).chain(['…']).collect()
}

/// A value in the wanted form; a table is made only for `Format::Table`.
pub(crate) fn rendered(format: Format, value: &Value, table: impl FnOnce(&Value) -> String) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table => table(value),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
        Format::Yaml => {
            let mut text = serde_saphyr::to_string(value)?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text
        }
    })
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One line on standard error. Unlike `eprintln!` it does not panic when that is closed.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints once, or with `watch` whenever the text has changed, until interrupted. On a terminal a table replaces the last one.
/// While watching, an unreachable node is said once and waited for.
pub(crate) async fn show<F, Fut>(watch: bool, format: Format, make: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<String>>,
{
    if !watch {
        return Ok(print(&make().await?)?);
    }
    let redraws = format == Format::Table && io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        let text = match make().await {
            Ok(text) => text,
            Err(error) => format!("{error:#}\n"),
        };
        if text != last {
            if redraws {
                print("\x1b[2J\x1b[H")?;
            }
            print(&text)?;
            last = text;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_or_dangerous_cells_are_tamed() {
        let mut table = Table::new(&["NAME", "WHAT"]);
        table.row(vec!["a".to_owned(), "x".repeat(100)]);
        table.row(vec!["longer name".to_owned(), "two\nlines\u{1b}[31m".to_owned()]);
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME         WHAT");
        assert!(lines[1].ends_with('…') && lines[1].chars().count() == 13 + WIDEST, "{}", lines[1]);
        assert_eq!(lines[2], "longer name  two lines [31m");
    }
}
