//! A topology is a graph without cycles. A task that consumes its own output would be given a new instance for each of
//! its own results, without end.

use std::collections::BTreeMap;

use fogflow_orchestration::Topology;

use crate::error::{ApiError, ApiResult};

/// Refuses a topology in which a task feeds itself, directly or through others.
///
/// # Errors
/// 400 with the tasks of the cycle.
pub(super) fn acyclic(topology: &Topology) -> ApiResult<()> {
    let mut consumers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, task) in topology.tasks.iter().enumerate() {
        for input in &task.input_streams {
            consumers.entry(&input.selected_type).or_default().push(index);
        }
    }
    let next = |task: usize| {
        let outputs = &topology.tasks[task].output_streams;
        outputs.iter().filter_map(|output| consumers.get(output.entity_type.as_str())).flatten().copied()
    };
    // Depth first with an explicit stack: a hostile topology must not exhaust the thread's.
    let mut finished = vec![false; topology.tasks.len()];
    for start in 0..topology.tasks.len() {
        let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
        if !finished[start] {
            path.push((start, next(start).collect()));
        }
        while let Some((task, ahead)) = path.last_mut() {
            let (task, follower) = (*task, ahead.pop());
            match follower {
                Some(follower) if path.iter().any(|(on_path, _)| *on_path == follower) => {
                    return Err(cycle(topology, path.iter().map(|(on_path, _)| *on_path), follower));
                }
                Some(follower) if !finished[follower] => path.push((follower, next(follower).collect())),
                Some(_) => {}
                None => {
                    finished[task] = true;
                    path.pop();
                }
            }
        }
    }
    Ok(())
}

fn cycle(topology: &Topology, path: impl Iterator<Item = usize>, back_to: usize) -> ApiError {
    let mut names: Vec<&str> = path.skip_while(|task| *task != back_to).map(|task| topology.tasks[task].name.as_str()).collect();
    names.push(&topology.tasks[back_to].name);
    ApiError::bad(format!("the tasks form a cycle, which would start new tasks without end: {}", names.join(" -> ")))
}
