//! What a worker asks of its broker on behalf of tasks: input subscriptions, removal of outputs, the `uService` entity.

use std::time::Duration;

use fogflow_client::{BrokerClient, ClientError, Context, Endpoint, LdClient};
use fogflow_ngsi::v1::SubscribeContextRequest;
use fogflow_orchestration::{InputStream, Location, ScheduledTaskInstance};
use serde_json::{Value, json};

use crate::contract::{self, NotifyFormat};

/// For one call. Shorter than usual: a task that ends waits for it.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The worker's broker.
#[derive(Clone, Debug)]
pub struct Broker {
    v1: BrokerClient,
    ld: LdClient,
}

impl Broker {
    /// The broker whose NGSI-10 interface is at `url` (`…/ngsi10`).
    #[must_use]
    pub fn new(http: &reqwest::Client, url: &str) -> Self {
        let root = url.trim_end_matches('/').trim_end_matches("/ngsi10");
        let at = |path: &str| Endpoint::new(http.clone(), &format!("{root}/{path}")).with_timeout(TIMEOUT);
        Broker { v1: BrokerClient::new(at("ngsi10")), ld: LdClient::new(at("ngsi-ld/v1")) }
    }

    /// Subscribes an input of a task; the broker sends the current value at once, then each change, to
    /// `<reference>/notifyContext`. `Fiware-Correlator` keeps a task from being told of its own updates,
    /// `Require-Reliability` has the broker try again while the task cannot be reached.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn subscribe(&self, task: &ScheduledTaskInstance, input: &InputStream, reference: &str) -> Result<String, ClientError> {
        match contract::notify_format(&task.parameters) {
            NotifyFormat::NgsiV1 => {
                let context = Context { service_path: input.service_path.clone(), ..context(task) };
                self.v1.subscribe(&request_v1(input, reference), &context).await
            }
            NotifyFormat::NgsiLd => {
                let id = format!("urn:ngsi-ld:Subscription:{}", uuid::Uuid::new_v4());
                self.ld.subscribe(&request_ld(&id, input, reference), tenant(task), &input.service_path).await.map(|()| id)
            }
        }
    }

    /// Cancels a subscription. One that the broker does not know counts as cancelled.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn unsubscribe(&self, task: &ScheduledTaskInstance, id: &str) -> Result<(), ClientError> {
        let outcome = match contract::notify_format(&task.parameters) {
            NotifyFormat::NgsiV1 => self.v1.unsubscribe(id, &context(task)).await,
            NotifyFormat::NgsiLd => self.ld.unsubscribe(id, tenant(task)).await,
        };
        gone_is_done(outcome)
    }

    /// Whether the broker still has a subscription. One that cannot be asked is taken to have it.
    pub async fn has_subscription(&self, task: &ScheduledTaskInstance, id: &str) -> bool {
        let answer = match contract::notify_format(&task.parameters) {
            NotifyFormat::NgsiV1 => self.v1.has_subscription(id, &context(task)).await,
            NotifyFormat::NgsiLd => self.ld.has_subscription(id, tenant(task)).await,
        };
        answer.unwrap_or(true)
    }

    /// Deletes entities, each `(id, type)`. One that does not exist counts as deleted.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn delete_entities(&self, task: &ScheduledTaskInstance, entities: &[(&str, &str)]) -> Result<(), ClientError> {
        // One by one: with several in a request, one that is unknown would hide whether the others are gone.
        for (id, kind) in entities {
            let element = json!({"entityId": {"id": id, "type": kind, "isPattern": false}});
            gone_is_done(self.update(task, "DELETE", &element).await)?;
        }
        Ok(())
    }

    /// Publishes that a task offers a service at `ip:port`: entity `uService.<topology>.<task id>` of type `uService`,
    /// with the metadata that upstream's dashboard shows.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn announce_service(&self, task: &ScheduledTaskInstance, ip: &str, port: u16, location: Location) -> Result<(), ClientError> {
        let metadata = json!([
            {"name": "service", "type": "string", "value": task.topology_name},
            {"name": "taskID", "type": "string", "value": task.id},
            {"name": "operator", "type": "string", "value": task.operator_name},
            {"name": "IP", "type": "string", "value": ip},
            {"name": "port", "type": "object", "value": port.to_string()},
            {"name": "location", "type": "string", "value": location},
        ]);
        let identity = json!({"id": service_entity(task), "type": "uService", "isPattern": false});
        self.update(task, "UPDATE", &json!({"entityId": identity, "attributes": [], "domainMetadata": metadata})).await
    }

    async fn update(&self, task: &ScheduledTaskInstance, action: &str, element: &Value) -> Result<(), ClientError> {
        let body = json!({"contextElements": [element], "updateAction": action}).to_string();
        self.v1.update_raw(body.into(), &context(task)).await
    }
}

fn context(task: &ScheduledTaskInstance) -> Context {
    Context { tenant: tenant(task).to_owned(), correlator: task.id.clone(), require_reliability: true, ..Context::default() }
}

fn tenant(task: &ScheduledTaskInstance) -> &str {
    task.tenant.as_deref().unwrap_or_default()
}

fn request_v1(input: &InputStream, reference: &str) -> SubscribeContextRequest {
    let entity = fogflow_ngsi::v1::EntityId {
        id: input.id.as_str().into(),
        entity_type: input.entity_type.as_str().into(),
        is_pattern: input.id.is_empty(),
    };
    SubscribeContextRequest {
        entities: vec![entity],
        attributes: attributes(input).into_iter().map(Into::into).collect(),
        reference: reference.into(),
        ..Default::default()
    }
}

fn request_ld(id: &str, input: &InputStream, reference: &str) -> Value {
    let mut entity = json!({"type": input.entity_type});
    if !input.id.is_empty() {
        entity["id"] = json!(input.id);
    }
    let mut notification = json!({"endpoint": {"uri": format!("{reference}/notifyContext"), "accept": "application/json"}});
    let names = attributes(input);
    if !names.is_empty() {
        notification["attributes"] = json!(names);
    }
    json!({"id": id, "type": "Subscription", "entities": [entity], "notification": notification})
}

/// The id of the entity by which a task's service is found.
#[must_use]
pub fn service_entity(task: &ScheduledTaskInstance) -> String {
    format!("uService.{}.{}", task.topology_name, task.id)
}

/// A list that names `all` in any case means all attributes, as an empty one does.
fn attributes(input: &InputStream) -> Vec<&str> {
    if input.attribute_list.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        return Vec::new();
    }
    input.attribute_list.iter().map(String::as_str).collect()
}

/// Removing what is not there is as good as done; only a broker that may still have it has to be asked again.
fn gone_is_done(outcome: Result<(), ClientError>) -> Result<(), ClientError> {
    match outcome {
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::debug!(%error, "nothing to remove");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
