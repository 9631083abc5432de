//! The body of an availability notification and its answer.

use fogflow_ngsi::v1::StatusCode;
use fogflow_ngsi::v1::availability::{ContextRegistration, NotifyContextAvailabilityRequest, Snapshot};
use serde::Deserialize;
use smol_str::SmolStr;

use super::queue::{Action, Batch, SnapshotPart};

/// The body. Each entity is an element of its own, with its attributes and metadata, so that the receiver need not ask back.
pub(super) fn encode(id: &SmolStr, batch: &Batch) -> Vec<u8> {
    let code = match batch.action {
        Action::Initial => 201,
        Action::Update => 301,
        Action::Gone => 410,
    };
    let notification = NotifyContextAvailabilityRequest {
        subscribe_id: id.clone(),
        responses: batch.registrations.iter().map(|registration| ContextRegistration::from(&**registration).into()).collect(),
        error_code: StatusCode::new(code, ""),
        sequence: batch.sequence,
        snapshot: batch.snapshot.map(|part| match part {
            SnapshotPart::Whole => Snapshot::Whole,
            SnapshotPart::Begin => Snapshot::Begin,
            SnapshotPart::Part => Snapshot::Part,
            SnapshotPart::End => Snapshot::End,
        }),
    };
    // Serialising these types to memory cannot fail: no map has a key that is not a string.
    serde_json::to_vec(&notification).unwrap_or_default()
}

/// Whether an answer takes the notification over.
pub(super) fn acknowledged(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "responseCode", alias = "ResponseCode", alias = "responsecode")]
        response_code: Code,
    }
    #[derive(Deserialize)]
    struct Code {
        #[serde(alias = "Code")]
        code: i64,
    }
    serde_json::from_slice::<Answer>(body).is_ok_and(|answer| answer.response_code.code == 200)
}
