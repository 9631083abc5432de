//! A FogFlow task: `function.rs` is yours, `task.rs` serves it.

mod function;
mod task;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), task::TaskError> {
    task::serve().await
}
