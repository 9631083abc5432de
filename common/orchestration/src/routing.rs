//! Exchange, queues and routing keys (upstream: `common/communicator`). Every key ends with a dot: its last word is empty.

/// The topic exchange.
pub const EXCHANGE: &str = "fogflow";
/// Workers to all masters.
pub const HEARTBEAT: &str = "heartbeat.";
/// Workers to all masters and designers.
pub const TASK: &str = "task.";
/// Designers to all masters.
pub const ORCHESTRATION: &str = "orchestration.";
/// Masters to designers.
pub const DESIGNER: &str = "designer.";

/// The key that reaches one worker or master.
#[must_use]
pub fn to(component: &str) -> String {
    format!("{component}.")
}

/// The bindings of a worker's queue.
#[must_use]
pub fn worker_bindings(worker: &str) -> Vec<String> {
    vec![format!("{worker}.*")]
}

/// The bindings of a master's queue.
#[must_use]
pub fn master_bindings(master: &str) -> Vec<String> {
    vec![to(master), "heartbeat.*".to_owned(), TASK.to_owned(), "orchestration.*".to_owned()]
}
