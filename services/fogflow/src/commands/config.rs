//! `fogflow config check|show`

use fogflow_chassis::{CommonArgs, load_config};
use serde_json::Value;

use crate::output::{Format, Table, print, rendered};

/// Says whether the configuration is valid. Wrong values end with exit code 2 and one line.
pub(crate) fn check(common: &CommonArgs) -> anyhow::Result<()> {
    let loaded = load_config(common)?;
    let mut text = String::new();
    for warning in &loaded.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text.push_str("the configuration is valid\n");
    Ok(print(&text)?)
}

/// Shows the configuration as it takes effect, passwords hidden.
pub(crate) fn show(common: &CommonArgs, format: Format) -> anyhow::Result<()> {
    let config = load_config(common)?.config;
    Ok(print(&rendered(format, &config.redacted(), |value| {
        let mut table = Table::new(&["KEY", "VALUE"]);
        rows("", value, &mut table);
        table.text()
    })?)?)
}

fn rows(path: &str, value: &Value, table: &mut Table) {
    let Value::Object(fields) = value else { return table.row(vec![path.to_owned(), value.to_string()]) };
    for (name, inner) in fields {
        let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        rows(&inner_path, inner, table);
    }
}
