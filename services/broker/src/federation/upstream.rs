//! Speaking NGSI-10 with brokers that are not ours.

use fogflow_client::ClientError;
use fogflow_ngsi::v1::{UpdateAction, UpdateContextResponse, encode_update_request};
use fogflow_ngsi::{Entity, Timestamp};

use super::{Federation, Owner};
use crate::change::Origin;
use crate::command::{Action, Answer, Command, Done, Effect, Refusal};

/// NGSI-10's form of an action; `None` where it has none.
fn v1(command: &Command) -> Option<(UpdateAction, Entity)> {
    match &command.action {
        Action::Upsert { patch, .. } | Action::Append { patch, overwrite: true } => Some((UpdateAction::Update, patch.clone())),
        Action::Create(entity) | Action::Replace { entity, .. } => Some((UpdateAction::Update, entity.clone())),
        Action::Update { patch, .. } | Action::ReplaceAttributes(patch) | Action::Merge(patch) => {
            Some((UpdateAction::Update, patch.clone()))
        }
        Action::Delete => Some((UpdateAction::Delete, Entity::new(&command.key.id, None, Timestamp::now()))),
        Action::Append { overwrite: false, .. } | Action::DeleteAttributes(_) | Action::Reconcile(_) | Action::GiveAway(_) => None,
    }
}

impl Federation {
    /// One request per command: upstream's brokers tell nothing of single elements.
    pub(super) async fn forward_to_upstream(
        &self,
        owner: &Owner,
        origin: &Origin,
        commands: Vec<Command>,
    ) -> Result<Vec<Answer>, ClientError> {
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            let Some((action, entity)) = v1(&command) else {
                let why = "the broker that holds the entity speaks NGSI-10 only, which cannot express this";
                answers.push(Err(Refusal::Invalid(why.to_owned())));
                continue;
            };
            let mut body = Vec::new();
            encode_update_request(&mut body, &action, &origin.correlator, [&entity]);
            let context = self.context(&command.key, origin);
            let reply = self.peers.provider(&owner.url).post_raw("/updateContext", body.into(), &context).await?;
            answers.push(answer(&action, &reply));
        }
        Ok(answers)
    }
}

/// An empty reply is success: so upstream answers brokers (F 30).
fn answer(action: &UpdateAction, reply: &[u8]) -> Answer {
    let response = UpdateContextResponse::decode(reply).unwrap_or_default();
    let statuses = response.responses.into_iter().map(|response| response.status).chain(response.error_code);
    if let Some(bad) = statuses.into_iter().find(|status| status.code >= 300) {
        return Err(match bad.code {
            404 => Refusal::NotFound,
            507 => Refusal::Full,
            503 => Refusal::Unavailable(bad.details),
            _ => Refusal::Invalid(bad.details),
        });
    }
    let effect = if *action == UpdateAction::Delete { Effect::Deleted } else { Effect::Updated };
    Ok(Done { effect, sequence: 0, skipped: Vec::new(), entity: None })
}
