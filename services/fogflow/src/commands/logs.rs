//! `fogflow logs`

use std::io::Write as _;

use fogflow_chassis::UsageError;
use futures::StreamExt as _;
use serde_json::Value;

use crate::target::Target;

/// Prints a task's log. A part of an id is enough when only one task has it.
pub(crate) async fn run(target: &Target, task: &str, tail: Option<u32>, follow: bool) -> anyhow::Result<()> {
    let id = resolve(&target.designer.info("task").await?, task)?;
    let mut log = target.designer.logs(&id, tail, follow).await?;
    let mut out = std::io::stdout();
    while let Some(part) = log.next().await {
        out.write_all(&part?)?;
        out.flush()?;
    }
    Ok(())
}

fn resolve(rows: &Value, wanted: &str) -> Result<String, UsageError> {
    let ids: Vec<&str> = rows.as_array().into_iter().flatten().filter_map(|row| row.get("TaskID").and_then(Value::as_str)).collect();
    if let Some(id) = ids.iter().find(|id| **id == wanted) {
        return Ok((*id).to_owned());
    }
    let fitting: Vec<&str> = ids.iter().copied().filter(|id| id.contains(wanted)).collect();
    match fitting.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(UsageError(format!("there is no task {wanted}: `fogflow get tasks` lists them"))),
        several => Err(UsageError(format!("{wanted} may mean {}", several.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_id_is_enough_when_it_is_the_only_one() {
        let rows = serde_json::json!([{"TaskID": "Task.a.main.1"}, {"TaskID": "Task.a.main.12"}, {"TaskID": "Task.b.main.3"}]);
        assert_eq!(resolve(&rows, "Task.a.main.1").unwrap(), "Task.a.main.1");
        assert_eq!(resolve(&rows, ".b.").unwrap(), "Task.b.main.3");
        assert!(resolve(&rows, "Task.a").unwrap_err().0.contains("may mean Task.a.main.1, Task.a.main.12"));
        assert!(resolve(&rows, "zzz").unwrap_err().0.contains("there is no task zzz"));
    }
}
