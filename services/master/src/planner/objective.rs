//! The objective of an intent: how a worker is chosen among those that can run a task and have room.

/// What `qos` of an intent asks for. Ties are broken by what the next objective would say, then by worker id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Objective {
    /// The least sum of great-circle distances to the task's inputs that have a location; without any, the least relative
    /// load. A worker without location is farther than any other. This is the default. Tasks move when their inputs move.
    #[default]
    MinLatency,
    /// The least relative load (tasks by capacity) after the task is added. Running tasks are not moved for balance.
    MaxThroughput,
    /// The fewest workers in use: the worker with the highest relative load that still has room, so that idle workers stay
    /// idle and can be switched off. Running tasks are not moved to empty a worker.
    MinCost,
}

impl Objective {
    /// Reads a word: upstream's `MAX_THROUGHPUT`, `MIN_LATENCY`, `MIN_COST`, and its pages' other spellings (`Max Throughput`,
    /// `Min-cost`). Everything else, `NONE` and `default` included, is the default.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        let letters: String = word.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect();
        match letters.as_str() {
            "maxthroughput" => Objective::MaxThroughput,
            "mincost" => Objective::MinCost,
            _ => Objective::MinLatency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_spellings_are_understood() {
        for (word, objective) in [
            ("MAX_THROUGHPUT", Objective::MaxThroughput),
            ("Max Throughput", Objective::MaxThroughput),
            ("Min-cost", Objective::MinCost),
            ("MIN_COST", Objective::MinCost),
            ("MIN_LATENCY", Objective::MinLatency),
            ("NONE", Objective::MinLatency),
            ("default", Objective::MinLatency),
            ("", Objective::MinLatency),
        ] {
            assert_eq!(Objective::parse(word), objective, "{word}");
        }
    }
}
