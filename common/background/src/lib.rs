//! How a library starts background tasks without knowing who watches them.
//!
//! Stores and buses need tasks and threads that live as long as they do. They start them through a [`Spawner`]: in a
//! service it is the supervisor's, which shows each by name and ends the process when one fails; alone, for example in a
//! test, tasks just run.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// A task; `Ok` when its owner has asked it to end (or is gone), `Err` with the reason when it can work no longer.
pub type Task = BoxFuture<'static, Result<(), String>>;

type Spawn = dyn Fn(&str, Task) + Send + Sync;

/// Starts named tasks where somebody watches them. Call it within a runtime.
#[derive(Clone)]
pub struct Spawner(Arc<Spawn>);

impl Spawner {
    /// Starts tasks by this function.
    #[must_use]
    pub fn new(spawn: impl Fn(&str, Task) + Send + Sync + 'static) -> Self {
        Spawner(Arc::new(spawn))
    }

    /// Starts a task.
    pub fn spawn(&self, name: &str, task: impl Future<Output = Result<(), String>> + Send + 'static) {
        (self.0)(name, task.boxed());
    }

    /// Starts a thread, and a task that ends with it: a panic of the thread is the failure of the task.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let (end, ended) = oneshot::channel();
        let thread = Builder::new().name(name.replace(' ', "-")).spawn(move || {
            work();
            // Nobody listens any more when the runtime has ended first.
            let _ = end.send(());
        })?;
        self.spawn(name, ended.map(|ended| ended.map_err(|_| "its thread panicked".to_owned())));
        Ok(thread)
    }
}

/// Tasks on the current runtime, watched by nobody; a failure is logged.
impl Default for Spawner {
    fn default() -> Self {
        Spawner::new(|name, task| {
            let name = name.to_owned();
            tokio::spawn(async move {
                if let Err(reason) = task.await {
                    tracing::error!(task = name, reason, "a background task failed");
                }
            });
        })
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Spawner")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_thread_is_a_task_that_ends_with_it_and_fails_when_it_panics() {
        let (seen, mut outcomes) = mpsc::channel(2);
        let spawner = Spawner::new(move |name, task| {
            let (name, seen) = (name.to_owned(), seen.clone());
            tokio::spawn(async move { seen.send((name, task.await)).await });
        });
        spawner.thread("good", || {}).unwrap().join().unwrap();
        assert_eq!(outcomes.recv().await.unwrap(), ("good".to_owned(), Ok(())));
        spawner.thread("bad", || panic!("on purpose")).unwrap().join().unwrap_err();
        assert_eq!(outcomes.recv().await.unwrap(), ("bad".to_owned(), Err("its thread panicked".to_owned())));
    }
}
