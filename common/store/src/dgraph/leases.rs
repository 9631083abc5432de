//! The transactions on leases.

use std::time::Duration;

use serde_json::json;

use super::http::{Answer, Failure};
use super::inner::Inner;
use crate::model::Lease;

impl Inner {
    /// Begins a transaction with a lease.
    pub(super) async fn find_lease(&self, name: &str) -> Result<Answer, Failure> {
        let of = |name| self.names.of(name);
        let query = format!(
            "query q($name: string) {{ lease(func: eq({}, $name)) {{ uid holder: {} epoch: {} until: {} }} }}",
            of("lease"),
            of("holder"),
            of("epoch"),
            of("until")
        );
        self.http.query(&query, &[("$name", name.to_owned())]).await
    }

    /// One transaction on a lease. Times are milliseconds of a clock that stands still within each second.
    pub(super) async fn take_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, Failure> {
        let answer = self.find_lease(name).await?;
        let held = &answer.data["lease"][0];
        let (epoch, until) = (held["epoch"].as_u64().unwrap_or_default(), held["until"].as_i64().unwrap_or_default());
        let now = answer.time * 1000;
        let valid = until > now;
        let there = held["holder"].as_str().unwrap_or_default();
        if valid && there != holder {
            return Ok(Lease { holder: there.to_owned(), epoch, granted: false });
        }
        let epoch = if valid { epoch } else { epoch + 1 };
        // The clock may be up to a second behind, so a second more.
        let until = now + 1000 + i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 2);
        let node = json!({
            "uid": held["uid"].as_str().unwrap_or("_:lease"),
            self.names.of("lease"): name,
            self.names.of("holder"): holder,
            self.names.of("epoch"): epoch,
            self.names.of("until"): until,
        });
        self.http.commit(answer.start_ts, &[node], &[]).await?;
        Ok(Lease { holder: holder.to_owned(), epoch, granted: true })
    }
}
