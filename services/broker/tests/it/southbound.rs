//! Devices of IoT agents and discovery.

use serde_json::{Value, json};

use crate::discovery::Discovery;
use crate::harness::Broker;
use crate::sink::Sink;

const TENANT: [(&str, &str); 2] = [("fiware-service", "openiot"), ("fiware-servicepath", "/")];

async fn register(broker: &Broker, agent: &Sink) {
    let registration = json!({"contextRegistrations": [{"entities": [{"type": "Lamp", "isPattern": "false", "id": "Lamp.001"}],
        "attributes": [{"name": "on", "type": "command"}], "contextMetadata": [], "providingApplication": agent.url()}], "duration": "P1Y"});
    let reply = broker.post_with("/NGSI9/registerContext", &TENANT, &registration).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

fn command() -> Value {
    json!({"contextElements": [{"entityId": {"id": "Lamp.001", "type": "Lamp"},
        "attributes": [{"name": "on", "type": "command", "value": ""}]}], "updateAction": "UPDATE"})
}

/// Upstream registers each device of an agent at discovery, with the broker as its provider.
#[tokio::test]
async fn a_device_is_known_at_discovery_as_its_brokers_until_the_agent_withdraws_it() {
    let (discovery, agent) = (Discovery::start().await, Sink::start().await);
    let broker = Broker::beside(&discovery, "001").await;
    register(&broker, &agent).await;
    let url = broker.running.url.clone();
    let found = discovery.registered("Lamp.001", |found| found.url == url && found.broker == "Broker.001").await;
    assert_eq!(found.registration["entities"], json!([{"type": "Lamp", "id": "Lamp.001"}]));
    assert_eq!(found.registration["attributes"][0]["name"], "on");
    assert_eq!(found.registration["Tenant"], "openiot");
    discovery.forget();
    discovery.registered("Lamp.001", |_| true).await;
    // What the device publishes is its broker's as well; without it the device is still there.
    let measured = json!({"contextElements": [{"entityId": {"id": "Lamp.001", "type": "Lamp"},
        "attributes": [{"name": "power", "type": "float", "value": 1}]}], "updateAction": "UPDATE"});
    broker.post_with("/ngsi10/updateContext", &TENANT, &measured).await;
    discovery.registered("Lamp.001", |found| found.registration["attributes"][0]["name"] == "power").await;
    broker.send("DELETE", "/ngsi10/entity/Lamp.001", &TENANT, "").await;
    discovery.registered("Lamp.001", |found| found.registration["attributes"][0]["name"] == "on").await;
    assert_eq!(broker.send("DELETE", "/NGSI9/registration/Lamp.001.openiot.~", &TENANT, "").await.status, 200);
    discovery.gone("Lamp.001").await;
}

#[tokio::test]
async fn a_command_at_another_broker_reaches_the_agent_or_is_refused() {
    let (discovery, agent) = (Discovery::start().await, Sink::start().await);
    let (a, b) = (Broker::beside(&discovery, "001").await, Broker::beside(&discovery, "002").await);
    register(&a, &agent).await;
    discovery.registered("Lamp.001", |_| true).await;
    let reply = b.post_with("/ngsi10/updateContext", &TENANT, &command()).await;
    assert_eq!(reply.json["contextResponses"][0]["statusCode"]["code"], 200, "{}", reply.text);
    let sent = agent.received();
    assert_eq!((sent.len(), &sent[0].body["contextElements"][0]["id"]), (1, &json!("Lamp.001")));
    for broker in [&a, &b] {
        assert_eq!(broker.send("GET", "/ngsi10/entity/Lamp.001", &TENANT, "").await.status, 404, "a command is not stored");
    }
    agent.answer(500);
    let refused = b.post_with("/ngsi10/updateContext", &TENANT, &command()).await;
    assert_eq!(refused.json["contextResponses"][0]["statusCode"]["code"], 504, "{}", refused.text);
}
