//! Requests as a user sends them.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A plain HTTP client whose answers are JSON, or text when they are not.
#[derive(Clone)]
pub struct Http(reqwest::Client);

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// A client with a limit of 10 s on every request.
    #[must_use]
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Http(reqwest::Client::builder().timeout(Duration::from_secs(10)).build().expect("a client can be built"))
    }

    /// Sends a request; `Err` says why there was no answer.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Value), String> {
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                request = request.header("content-type", "application/json");
            }
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// GET
    pub async fn get(&self, url: &str) -> Result<(StatusCode, Value), String> {
        self.send(Method::GET, url, &[], None).await
    }

    /// POST of a JSON body
    pub async fn post(&self, url: &str, body: &Value) -> Result<(StatusCode, Value), String> {
        self.send(Method::POST, url, &[], Some(body.to_string().into_bytes())).await
    }

    /// DELETE
    pub async fn delete(&self, url: &str) -> Result<(StatusCode, Value), String> {
        self.send(Method::DELETE, url, &[], None).await
    }

    /// GET that must answer 200; `Err` has what it answered instead.
    pub async fn ok(&self, url: &str) -> Result<Value, String> {
        match self.get(url).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, body) => Err(format!("{status} {body}")),
        }
    }
}

/// A v1 update of one entity with number attributes.
#[must_use]
pub fn update(id: &str, entity_type: &str, attributes: &[(&str, Value)]) -> Value {
    let attributes: Vec<Value> = attributes
        .iter()
        .map(|(name, value)| json!({"name": name, "type": if value.is_number() { "float" } else { "string" }, "value": value}))
        .collect();
    json!({"contextElements": [{"entityId": {"id": id, "type": entity_type}, "attributes": attributes}], "updateAction": "UPDATE"})
}

/// [`update`] with a `location` point as domain metadata.
#[must_use]
pub fn update_at(id: &str, entity_type: &str, attributes: &[(&str, Value)], latitude: f64, longitude: f64) -> Value {
    let mut body = update(id, entity_type, attributes);
    body["contextElements"][0]["domainMetadata"] =
        json!([{"name": "location", "type": "point", "value": {"latitude": latitude, "longitude": longitude}}]);
    body
}

/// Whether every element of an updateContext answer says 200.
#[must_use]
pub fn acknowledged(answer: &Value) -> bool {
    answer["contextResponses"]
        .as_array()
        .is_some_and(|list| !list.is_empty() && list.iter().all(|element| element["statusCode"]["code"] == 200))
}
