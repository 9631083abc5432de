//! The time of one process: it begins at the wall clock and never jumps, so that no lease ends because a clock was set.

use std::time::Instant;

use fogflow_ngsi::Timestamp;
use jiff::tz::TimeZone;

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    since: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { start: Timestamp::now(), since: Instant::now() }
    }
}

impl Clock {
    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.start.0.saturating_add(i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX)))
    }
}

/// When a `duration` that begins now ends: ISO 8601 (`PT10M`, `P1M`) or seconds. Empty, zero and negative ones are
/// endless, as upstream's clients expect.
///
/// # Errors
/// If the text is not a duration.
pub fn end_of(duration: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let duration = duration.trim();
    if duration.is_empty() {
        return Ok(None);
    }
    let bad = || format!("duration: {duration:?} is neither an ISO 8601 duration such as PT1H nor a number of seconds");
    if let Ok(seconds) = duration.parse::<f64>() {
        let end = now.0.saturating_add((seconds * 1e6) as i64);
        return Ok((seconds > 0.0).then_some(Timestamp(end)));
    }
    let span: jiff::Span = duration.parse().map_err(|_| bad())?;
    let start = jiff::Timestamp::from_microsecond(now.0).map_err(|_| bad())?.to_zoned(TimeZone::UTC);
    // Longer than the calendar reaches is for ever.
    let Ok(end) = start.checked_add(span) else { return Ok(None) };
    Ok((end > start).then(|| Timestamp(end.timestamp().as_microsecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_37_durations_are_understood() {
        let after = |text| end_of(text, Timestamp(0)).unwrap().map(|end| end.0 / 1_000_000);
        assert_eq!(after("PT10M"), Some(600));
        assert_eq!(after("P1M"), Some(31 * 86_400));
        assert_eq!(after("90"), Some(90));
        assert_eq!((after(""), after("0"), after("PT0S"), after("P9999Y")), (None, None, None, None));
        assert!(end_of("soon", Timestamp(0)).is_err());
    }
}
