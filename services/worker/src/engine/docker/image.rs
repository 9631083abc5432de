//! Images: present, or pulled with the worker's credentials.

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use fogflow_config::RegistryConfig;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{failed, is_missing, words};
use crate::engine::EngineError;

/// Whether the engine has an image.
pub(crate) async fn is_present(docker: &Docker, image: &str) -> Result<bool, EngineError> {
    match docker.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(failed("the image cannot be looked up", &error)),
    }
}

/// Pulls an image. Ends early when `cancel` fires; what is pulled by then stays for the next attempt.
pub(crate) async fn pull(docker: &Docker, image: &str, registry: &RegistryConfig, cancel: &CancellationToken) -> Result<(), EngineError> {
    let (name, tag) = split(image);
    let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
    let mut steps = docker.create_image(Some(options), None, credentials(image, registry));
    loop {
        let step = tokio::select! {
            () = cancel.cancelled() => return Err(EngineError::Cancelled),
            step = steps.next() => step,
        };
        match step {
            None => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                return Err(EngineError::Unrunnable(format!("image {image} is not here and cannot be pulled: {}", words(&error))));
            }
        }
    }
}

/// Name and tag of a reference; one with a digest has no tag.
fn split(image: &str) -> (&str, &str) {
    if image.contains('@') {
        return (image, "");
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// The registry of a reference, as docker reads it: the part before the first slash if it looks like a host.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// The configured credentials, also when only some are given (upstream asks for all four), but never for another
/// registry than theirs.
fn credentials(image: &str, registry: &RegistryConfig) -> Option<DockerCredentials> {
    if registry.username.is_empty() && registry.password.is_empty() {
        return None;
    }
    let given = registry.serveraddress.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or_default();
    let server = if given.ends_with("docker.io") { "docker.io" } else { given };
    if !server.is_empty() && server != registry_of(image) {
        return None;
    }
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Some(DockerCredentials {
        username: some(&registry.username),
        password: some(&registry.password),
        email: some(&registry.email),
        serveraddress: some(&registry.serveraddress).or_else(|| Some(registry_of(image).to_owned())),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_into_name_and_tag() {
        assert_eq!(split("fogflow/dummy:1"), ("fogflow/dummy", "1"));
        assert_eq!(split("fogflow/dummy"), ("fogflow/dummy", "latest"));
        assert_eq!(split("host:5000/dummy"), ("host:5000/dummy", "latest"));
        assert_eq!(split("a@sha256:00"), ("a@sha256:00", ""));
    }

    #[test]
    fn credentials_may_be_partial_and_go_to_their_own_registry_only() {
        let registry = |server: &str| RegistryConfig { username: "u".to_owned(), serveraddress: server.to_owned(), ..Default::default() };
        assert!(credentials("fogflow/dummy:1", &RegistryConfig::default()).is_none());
        assert_eq!(credentials("host:5000/dummy", &registry("")).unwrap().serveraddress.as_deref(), Some("host:5000"));
        assert!(credentials("host:5000/dummy", &registry("https://host:5000")).is_some());
        assert!(credentials("fogflow/dummy", &registry("host:5000")).is_none());
        assert!(credentials("fogflow/dummy", &registry("https://index.docker.io/v1/")).is_some());
    }
}
