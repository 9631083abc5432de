//! Where the tasks of a plan go: what has no worker is placed, what has one may move to a better one.

use std::collections::BTreeSet;
use std::sync::Arc;

use fogflow_orchestration::Operator;
use foldhash::HashSet;

use super::capability::{Artefact, artefact_for, reason_for_none};
use super::fleet::{Choice, Wish};
use super::flow::Flow;
use super::incremental::{Ability, Place, Planner};
use super::objective::Objective;

impl Planner {
    /// Brings the plan up to date with everything that was said since the last time, and returns the tasks that are new,
    /// changed, moved or gone.
    pub fn settle(&mut self) -> BTreeSet<Arc<str>> {
        self.regroup();
        loop {
            self.place_waiting();
            if !self.improve() {
                break;
            }
        }
        let changed: BTreeSet<Arc<str>> = std::mem::take(&mut self.changed).into_iter().collect();
        self.touched_intents.extend(changed.iter().filter_map(|id| self.tasks.get(id)).map(|task| task.flow.key.intent.clone()));
        changed
    }

    /// Lets the flows see what changed. A new task can make its own output, which is there already, unread: then once more.
    pub(super) fn regroup(&mut self) {
        while !self.regroup.is_empty() {
            for (key, changes) in std::mem::take(&mut self.regroup) {
                self.regroup_flow(&key, changes);
            }
        }
    }

    /// Intents whose state may have changed since this was asked for last.
    pub fn take_touched_intents(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched_intents)
    }

    /// The first settling of a new leader: tasks go where they were. What is better off elsewhere moves when all are
    /// reviewed.
    pub fn settle_first(&mut self) {
        self.regroup();
        self.room = true;
        self.place_waiting();
        self.review.clear();
        self.review_everything = false;
        self.forget_unknown();
    }

    pub(super) fn by_priority(&self, mut ids: Vec<Arc<str>>) -> Vec<Arc<str>> {
        ids.sort_unstable();
        // Stable: equal priorities stay in the order of their ids.
        ids.sort_by_cached_key(|id| self.tasks.get(id).map(|task| (!task.flow.exclusive, std::cmp::Reverse(task.flow.level))));
        ids
    }

    /// Places what has no worker: first where it was, then by its objective; exclusive tasks and high levels first.
    fn place_waiting(&mut self) {
        let retry = std::mem::take(&mut self.room);
        let waiting = self.unplaced.iter().filter(|id| retry || self.changed.contains(*id)).cloned().collect();
        let mut strangers = Vec::new();
        for id in self.by_priority(waiting) {
            let remembered = self.remembered.get(&id).and_then(|worker| self.fleet.find(worker));
            let avoided = |index: usize| self.avoided.get(&id).is_some_and(|workers| workers.contains(self.fleet.id(index)));
            match remembered.filter(|&index| self.fleet.has_room(index) && !avoided(index)) {
                Some(index) if self.place(&id, index) => {
                    // Where it was need not be the best place.
                    self.review.insert(id);
                }
                _ => strangers.push(id),
            }
        }
        // Operators for which no worker had room: room only shrinks while tasks are placed.
        let mut full: HashSet<String> = HashSet::default();
        for id in strangers {
            let Some(flow) = self.tasks.get(&id).map(|task| task.flow.clone()) else { continue };
            if full.contains(&flow.operator) {
                self.leave_waiting(&id, &flow);
                continue;
            }
            match self.best_for(&id, None, None) {
                Some(choice) => {
                    self.place(&id, choice.worker);
                }
                None => {
                    // Better where it failed than nowhere.
                    let last_resort: Vec<usize> = self
                        .avoided
                        .get(&id)
                        .into_iter()
                        .flatten()
                        .filter_map(|worker| self.fleet.find(worker))
                        .filter(|&worker| self.fleet.has_room(worker))
                        .collect();
                    if !last_resort.into_iter().any(|worker| self.place(&id, worker)) {
                        if !self.avoided.contains_key(&id) {
                            full.insert(flow.operator.clone());
                        }
                        self.leave_waiting(&id, &flow);
                    }
                }
            }
        }
    }

    /// Puts a task on a worker if it can run there.
    fn place(&mut self, id: &Arc<str>, index: usize) -> bool {
        let Some(flow) = self.tasks.get(id).map(|task| task.flow.clone()) else { return false };
        let kind = self.fleet.kind(index);
        let Some(artefact) = self.ability(&flow.operator).artefacts[kind].clone() else { return false };
        let worker = self.fleet.id(index).clone();
        let Some(task) = self.tasks.get_mut(id) else { return false };
        task.place = Place::On { worker, artefact };
        self.fleet.add(index, flow.exclusive, flow.level);
        self.unplaced.remove(id);
        self.remembered.remove(id);
        self.changed.insert(id.clone());
        // Placed at the best there was; only a task that pauses others, or is paused, may find better when all are placed.
        if flow.exclusive || self.fleet.is_paused_on(index, false, 0) {
            self.review_everything = true;
        }
        true
    }

    fn leave_waiting(&mut self, id: &Arc<str>, flow: &Flow) {
        let place = if self.fleet.is_empty() {
            Place::Waiting("no worker is alive".to_owned())
        } else {
            let ability = self.ability(&flow.operator);
            let able = self.fleet.count_of_kinds(&ability.runs_on);
            if able > 0 {
                Place::Waiting(format!("all {able} workers that can run operator `{}` are full", flow.operator))
            } else {
                let unknown = Operator { name: flow.operator.clone(), ..Operator::default() };
                let operator = self.operators.get(&flow.operator).map_or(&unknown, |operator| &**operator);
                Place::Impossible(reason_for_none(operator, self.fleet.kinds().iter()))
            }
        };
        if let Some(task) = self.tasks.get_mut(id)
            && task.place != place
        {
            task.place = place;
            self.changed.insert(id.clone());
        }
    }

    /// The best worker for a task but for its current one, at most `within` metres from its inputs.
    fn best_for(&mut self, id: &Arc<str>, current: Option<usize>, within: Option<u64>) -> Option<Choice> {
        let task = self.tasks.get(id)?;
        let (flow, instance) = (task.flow.clone(), task.instance.clone());
        let ability = self.ability(&flow.operator);
        let mut except: Vec<usize> = current.into_iter().collect();
        except.extend(self.avoided.get(id).into_iter().flatten().filter_map(|worker| self.fleet.find(worker)));
        let wish = Wish {
            objective: flow.objective,
            places: &instance.places,
            exclusive: flow.exclusive,
            level: flow.level,
            runs_on: &ability.runs_on,
            except: &except,
            within,
        };
        self.fleet.choose(&wish)
    }

    pub(super) fn ability(&mut self, operator: &str) -> Arc<Ability> {
        if let Some(known) = self.abilities.get(operator) {
            return known.clone();
        }
        let artefact = |kind| self.operators.get(operator).and_then(|operator| artefact_for(operator, kind)).map(Arc::new);
        let artefacts: Vec<Option<Arc<Artefact>>> = self.fleet.kinds().iter().map(artefact).collect();
        let runs_on = artefacts.iter().map(Option::is_some).collect();
        let ability = Arc::new(Ability { artefacts, runs_on });
        self.abilities.insert(operator.to_owned(), ability.clone());
        ability
    }

    /// Moves reviewed tasks to better workers. Each move lowers, in this order: tasks on workers where they failed, tasks that
    /// pause one another, metres (by the minimum gain at least); so it comes to an end. Returns whether anything moved.
    fn improve(&mut self) -> bool {
        let mut moved = false;
        if std::mem::take(&mut self.review_everything) {
            self.review_all();
        }
        let mut reviewed: Vec<Arc<str>> = std::mem::take(&mut self.review).into_iter().collect();
        reviewed.sort_unstable();
        for id in reviewed {
            let Some(task) = self.tasks.get(&id) else { continue };
            let Some(current) = task.worker().and_then(|worker| self.fleet.find(worker)) else { continue };
            let (flow, instance) = (task.flow.clone(), task.instance.clone());
            let failed_here = self.avoided.get(&id).is_some_and(|workers| workers.contains(self.fleet.id(current)));
            let paused_here = self.fleet.is_paused_on(current, flow.exclusive, flow.level);
            let may_be_nearer = flow.objective == Objective::MinLatency && !instance.places.is_empty();
            // From here it is worth to move to a worker within this many metres.
            let least_gain = self.policy.migration_gain_metres.max(1);
            let worth = if may_be_nearer { self.fleet.metres(current, &instance.places).checked_sub(least_gain) } else { None };
            let must_move = failed_here || paused_here;
            if !must_move && worth.is_none() {
                continue;
            }
            let within = if must_move { None } else { worth };
            let Some(best) = self.best_for(&id, Some(current), within) else { continue };
            let nearer = || worth.is_some_and(|worth| best.metres <= worth);
            if failed_here || (!best.conflict && (paused_here || nearer())) {
                self.fleet.remove(current, flow.exclusive, flow.level);
                moved |= self.place(&id, best.worker);
            }
        }
        if moved {
            // Each move left room behind.
            self.room = true;
            self.review_everything = true;
        }
        moved
    }
}
