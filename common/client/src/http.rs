//! What all clients share: base address, timeout, JSON, errors, trace headers.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::ClientError;

/// Text that arrives as it is written, for example a log that is followed.
pub type TextStream = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

/// Time for one call, all included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A followed log may be quiet for long; it ends with its reader or its task.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest message that is taken out of an error answer.
const LONGEST_MESSAGE: usize = 2000;

/// A service at a base address, and the process's client to call it with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoint {
    base: String,
    http: reqwest::Client,
    timeout: Duration,
    token: Option<String>,
}

impl Endpoint {
    /// A service at `base`, for example `http://127.0.0.1:8070/ngsi10`. 10 s for a call.
    #[must_use]
    pub fn new(http: reqwest::Client, base: &str) -> Self {
        Endpoint { base: base.trim_end_matches('/').to_owned(), http, timeout: TIMEOUT, token: None }
    }

    /// Another time limit for each call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls with this admin token.
    #[must_use]
    pub fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// The base address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same service without this last part of its base address.
    pub(crate) fn beside(&self, part: &str) -> Self {
        Endpoint { base: self.base.trim_end_matches(part).to_owned(), ..self.clone() }
    }

    /// What the service at this base address waits for, by its `/ready`: nothing when it is ready.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn ready(&self) -> Result<Vec<String>, ClientError> {
        match self.call(Method::GET, "/ready", HeaderMap::new(), None).await {
            Ok(_) => Ok(Vec::new()),
            Err(ClientError::Status { status: 503, message, .. }) => Ok(vec![message]),
            Err(error) => Err(error),
        }
    }

    /// The whole state of the service at this base address, as lines of JSON that come as it reads them. Needs the admin token.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn export(&self) -> Result<TextStream, ClientError> {
        self.stream("/internal/export", true).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.call(Method::GET, path, HeaderMap::new(), None).await?;
        self.parse(path, &body)
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let answer = self.send_json(Method::POST, path, body).await?;
        self.parse(path, &answer)
    }

    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Bytes, ClientError> {
        self.send_json_with(method, path, HeaderMap::new(), body).await
    }

    pub(crate) async fn send_json_with(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: &impl Serialize,
    ) -> Result<Bytes, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.unexpected(path, format!("the request cannot be written: {error}")))?;
        self.call(method, path, headers, Some(body.into())).await
    }

    /// One call: 2xx gives the body.
    pub(crate) async fn call(&self, method: Method, path: &str, headers: HeaderMap, body: Option<Bytes>) -> Result<Bytes, ClientError> {
        let mut request = self.request(method, path, headers).timeout(self.timeout);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(path, &error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(path, &error))?;
        if status.is_success() {
            return Ok(body);
        }
        Err(ClientError::Status { url: self.url(path), status: status.as_u16(), message: message_of(&body, status.as_u16()) })
    }

    /// The body as it comes; with `follow` it may come for days.
    pub(crate) async fn stream(&self, path: &str, follow: bool) -> Result<TextStream, ClientError> {
        let limit = if follow { FOLLOW_TIMEOUT } else { self.timeout };
        let request = self.request(Method::GET, path, HeaderMap::new()).timeout(limit);
        let response = request.send().await.map_err(|error| self.unreachable(path, &error))?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let body = response.bytes().await.unwrap_or_default();
            return Err(ClientError::Status { url: self.url(path), status, message: message_of(&body, status) });
        }
        let url = self.url(path);
        Ok(Box::pin(response.bytes_stream().map_err(move |error| ClientError::Unreachable { url: url.clone(), reason: cause(&error) })))
    }

    pub(crate) fn parse<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| self.unexpected(path, error.to_string()))
    }

    pub(crate) fn unexpected(&self, path: &str, reason: impl ToString) -> ClientError {
        ClientError::Body { url: self.url(path), reason: reason.to_string() }
    }

    fn request(&self, method: Method, path: &str, mut headers: HeaderMap) -> RequestBuilder {
        fogflow_chassis::inject_traceparent(&mut headers);
        let request = self.http.request(method, self.url(path)).headers(headers);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn unreachable(&self, path: &str, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url(path), reason: cause(error) }
    }
}

/// reqwest's own text repeats the URL; what helps is the innermost cause.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The message in any of the forms of our faces: v1 `Error` and `errorCode`, v2 `description`, LD `detail` and `title`.
fn message_of(body: &[u8], status: u16) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let waits_for = json.as_ref().and_then(|json| json.get("missing")).and_then(Value::as_array).filter(|parts| !parts.is_empty());
    if let Some(parts) = waits_for {
        return parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ");
    }
    let found = json.as_ref().and_then(|json| {
        ["/description", "/detail", "/Error", "/errorCode/details", "/message", "/reason", "/title", "/error"]
            .iter()
            .find_map(|place| json.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty()))
            .map(str::to_owned)
    });
    let mut message = found.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    if message.is_empty() {
        message = format!("status {status} without a body");
    }
    if let Some((cut, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
        message.truncate(cut);
    }
    message
}

/// An id as one segment of a path, or as a value of a query.
pub(crate) fn encoded(id: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_in_every_form_of_error_and_in_plain_text() {
        for (body, message) in [
            (r#"{"Error":"Resource not found"}"#, "Resource not found"),
            (r#"{"error":"NotFound","description":"no such entity"}"#, "no such entity"),
            (r#"{"type":"x","title":"Bad","detail":"attribute a"}"#, "attribute a"),
            (r#"{"errorCode":{"code":404,"details":"gone"}}"#, "gone"),
            (r#"{"ready":false,"missing":["store: opening","bus: away"]}"#, "store: opening; bus: away"),
            ("plain words\n", "plain words"),
            ("", "status 404 without a body"),
        ] {
            assert_eq!(message_of(body.as_bytes(), 404), message);
        }
    }

    #[test]
    fn an_id_with_slashes_spaces_and_umlauts_stays_one_segment() {
        assert_eq!(encoded("urn:ngsi-ld:A/b c?ä"), "urn:ngsi-ld:A%2Fb%20c%3F%C3%A4");
    }
}
