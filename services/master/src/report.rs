//! Tells the designer what became of intents, tasks and workers: what changed since the last report, in batches within 50 ms; all of
//! it after a change of leadership, or when a report was lost.

use std::sync::Arc;
use std::time::Duration;

use fogflow_client::Reported;
use fogflow_orchestration::MasterReport;

use crate::master::Master;
use crate::state::State;

const GATHER: Duration = Duration::from_millis(50);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Also without changes: a designer that was replaced by an empty one gets everything again.
const FULL_EVERY: Duration = Duration::from_secs(30);
/// Rows in one report, so that none is larger than a designer takes.
const ROWS: usize = 1000;

/// Works until shutdown.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn run(master: Arc<Master>) -> anyhow::Result<()> {
    let mut last_full = tokio::time::Instant::now();
    loop {
        if !master.wait(&master.report_nudge, FULL_EVERY).await || !master.pause(GATHER).await {
            return Ok(());
        }
        if last_full.elapsed() > FULL_EVERY {
            master.state.lock().reported.full = true;
        }
        let reports = { next_reports(&master.identity.profile.id, &mut master.state.lock()) };
        for report in reports {
            if report.full {
                last_full = tokio::time::Instant::now();
            }
            match master.designer.report(&report).await {
                Ok(Reported::Accepted) => {}
                Ok(Reported::Stale) => {
                    tracing::warn!("the designer has heard of a newer master");
                    master.lease_nudge.notify_one();
                    break;
                }
                // An upstream designer takes no reports; it hears the workers' updates.
                Err(error) if error.status() == Some(404) => break,
                Err(error) => {
                    tracing::debug!(%error, "a report was not taken; everything is reported again");
                    master.state.lock().reported.full = true;
                    if !master.pause(RETRY_AFTER).await {
                        return Ok(());
                    }
                    master.report_nudge.notify_one();
                    break;
                }
            }
        }
    }
}

/// Takes what changed out of the state.
fn next_reports(master: &str, state: &mut State) -> Vec<MasterReport> {
    let Some(epoch) = state.epoch().filter(|_| state.is_open()) else { return Vec::new() };
    let changes = std::mem::take(&mut state.reported);
    let nothing = changes.rows.is_empty() && changes.intents.is_empty() && !changes.workers && !changes.full;
    if nothing {
        return Vec::new();
    }
    let mut first = MasterReport { master: master.to_owned(), epoch, full: changes.full, ..MasterReport::default() };
    let mut rows = Vec::new();
    if changes.full {
        rows = state.rows(None);
        first.intents = state.intent_states().cloned().collect();
    } else {
        for id in &changes.rows {
            match state.row(id) {
                Some(row) => rows.push(row),
                None => first.removed_tasks.push(id.to_string()),
            }
        }
        first.intents = changes.intents.iter().filter_map(|id| state.intent_state(id)).cloned().collect();
    }
    if changes.full || changes.workers {
        first.workers = state.workers.alive().cloned().collect();
    }
    let mut rows = rows.into_iter();
    first.tasks = rows.by_ref().take(ROWS).collect();
    let mut reports = vec![first];
    loop {
        let tasks: Vec<_> = rows.by_ref().take(ROWS).collect();
        if tasks.is_empty() {
            return reports;
        }
        reports.push(MasterReport { master: master.to_owned(), epoch, tasks, ..MasterReport::default() });
    }
}
