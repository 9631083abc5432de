//! What types cannot say: ranges, names, contradictions. Checked before anything is bound.

use std::net::IpAddr;

use crate::sections::{Authentication, Config, KubernetesConfig, StoreEngine};

type Finding = (&'static str, String);

/// The first thing that is wrong: the key and the reason.
pub(crate) fn check(config: &Config) -> Result<(), Finding> {
    site(&config.site_id)?;
    if config.my_hostip.is_empty() {
        return Err(("my_hostip", "must not be empty: the address at which tasks and peers reach this node".to_owned()));
    }
    for (key, host) in [
        ("my_hostip", &config.my_hostip),
        ("coreservice_ip", &config.coreservice_ip),
        ("external_ip", &config.external_ip),
        ("discovery.host_ip", &config.discovery.host_ip),
        ("broker.host_ip", &config.broker.host_ip),
        ("master.host_ip", &config.master.host_ip),
        ("designer.host_ip", &config.designer.host_ip),
        ("worker.host_ip", &config.worker.host_ip),
        ("rabbitmq.host_ip", &config.rabbitmq.host_ip),
    ] {
        host_name(key, host)?;
    }
    if !config.listen.is_empty() && config.listen.parse::<IpAddr>().is_err() {
        return Err(("listen", format!("{:?} is not an IP address", config.listen)));
    }
    range("physical_location.latitude", config.physical_location.latitude, 90.0)?;
    range("physical_location.longitude", config.physical_location.longitude, 180.0)?;
    at_least_one("broker.heartbeat_interval", config.broker.heartbeat_interval)?;
    at_least_one("worker.detection_duration", config.worker.detection_duration)?;
    kubernetes(&config.worker.kubernetes)?;
    if let Some(seconds) = config.worker.heartbeat_interval {
        at_least_one("worker.heartbeat_interval", seconds)?;
    }
    if config.broker.max_body_bytes < 1024 {
        return Err(("broker.max_body_bytes", "must be at least 1024".to_owned()));
    }
    for (key, number) in [("broker.max_batch", config.broker.max_batch), ("broker.max_page_size", config.broker.max_page_size)] {
        if number == 0 {
            return Err((key, "must be at least 1".to_owned()));
        }
    }
    ports(config)?;
    stores(config)?;
    https(config)?;
    security(config)?;
    let endpoint = &config.telemetry.otlp_endpoint;
    if !endpoint.is_empty() && !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(("telemetry.otlp_endpoint", format!("{endpoint:?} is not an http or https URL")));
    }
    Ok(())
}

/// The id is a word of routing keys and of component ids, where a dot separates and `*` and `#` match.
fn site(site_id: &str) -> Result<(), Finding> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if site_id.is_empty() || site_id.len() > 64 || !site_id.chars().all(allowed) {
        return Err(("site_id", format!("{site_id:?} must be 1 to 64 letters, digits, '-' or '_'")));
    }
    Ok(())
}

fn host_name(key: &'static str, host: &str) -> Result<(), Finding> {
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if host.is_empty() || is_name || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err((key, format!("{host:?} is not a host name or an IP address (no scheme, port or path)")))
}

fn range(key: &'static str, degrees: f64, limit: f64) -> Result<(), Finding> {
    if degrees.is_finite() && degrees.abs() <= limit {
        return Ok(());
    }
    Err((key, format!("{degrees} is not within -{limit} to {limit} degrees")))
}

fn at_least_one(key: &'static str, number: u32) -> Result<(), Finding> {
    if number == 0 { Err((key, "must be at least 1".to_owned())) } else { Ok(()) }
}

/// What an edge makes for itself its cloud does not know.
fn security(config: &Config) -> Result<(), Finding> {
    let is_edge = !config.coreservice_ip.is_empty() && config.coreservice_ip != config.my_hostip;
    if config.security.authentication == Authentication::Token && is_edge && config.security.component_token.is_empty() {
        return Err(("security.component_token", "must be that of the node at coreservice_ip (its data_dir/component-token)".to_owned()));
    }
    Ok(())
}

/// Two services of one node cannot share a port. Sections that name another host are not of this node.
fn ports(config: &Config) -> Result<(), Finding> {
    let mut used: Vec<(&'static str, u16)> = vec![
        ("broker.http_port", config.broker.http_port),
        ("master.rest_api_port", config.master.rest_api_port),
        ("master.ngsi_agent_port", config.master.ngsi_agent_port),
        ("worker.http_port", config.worker.http_port),
    ];
    if config.https.enabled {
        used.push(("broker.https_port", config.broker.https_port));
    }
    if config.coreservice_ip.is_empty() {
        used.extend([
            ("discovery.http_port", config.discovery.http_port),
            ("designer.webSrvPort", config.designer.web_srv_port),
            ("designer.agentPort", config.designer.agent_port),
        ]);
        if config.https.enabled {
            used.extend([
                ("discovery.https_port", config.discovery.https_port),
                ("designer.https_webSrvPort", config.designer.https_web_srv_port),
            ]);
        }
    }
    let behind_names = [&config.broker.host_ip, &config.discovery.host_ip, &config.designer.host_ip, &config.master.host_ip];
    if behind_names.iter().any(|host| !host.is_empty()) {
        // Separate machines or pods: equal ports are no conflict.
        return Ok(());
    }
    for (index, (key, port)) in used.iter().enumerate() {
        if let Some((other, _)) = used.iter().take(index).find(|(_, taken)| taken == port && *port != 0) {
            return Err((key, format!("port {port} is also `{other}`")));
        }
    }
    Ok(())
}

fn kubernetes(config: &KubernetesConfig) -> Result<(), Finding> {
    // Renewing three times before the lease ends needs some seconds.
    if config.lease_seconds < 5 {
        return Err(("worker.kubernetes.lease_seconds", "must be at least 5".to_owned()));
    }
    at_least_one("worker.kubernetes.requests_per_second", config.requests_per_second.into())?;
    at_least_one("worker.kubernetes.task_port", config.task_port.into())?;
    if !["", "IfNotPresent", "Always", "Never"].contains(&config.image_pull_policy.as_str()) {
        return Err((
            "worker.kubernetes.image_pull_policy",
            format!("{:?} is not IfNotPresent, Always or Never", config.image_pull_policy),
        ));
    }
    Ok(())
}

fn stores(config: &Config) -> Result<(), Finding> {
    let all = [
        ("store.url", Some(&config.store)),
        ("broker.store.url", config.broker.store.as_ref()),
        ("discovery.store.url", config.discovery.store.as_ref()),
        ("master.store.url", config.master.store.as_ref()),
        ("designer.store.url", config.designer.store.as_ref()),
    ];
    for (key, store) in all {
        if store.is_some_and(|store| store.engine != StoreEngine::Embedded && store.url.is_empty()) {
            return Err((key, "must name the server of this store engine".to_owned()));
        }
    }
    for (key, store) in [
        ("broker.store.engine", &config.broker.store),
        ("discovery.store.engine", &config.discovery.store),
        ("master.store.engine", &config.master.store),
    ] {
        if store.as_ref().is_some_and(|store| store.engine == StoreEngine::Dgraph) {
            return Err((key, "dgraph is an engine of the designer's registry only: use embedded or postgres here".to_owned()));
        }
    }
    Ok(())
}

fn https(config: &Config) -> Result<(), Finding> {
    if !config.https.enabled {
        return Ok(());
    }
    for (key, file) in [
        ("https.my_certificate", &config.https.my_certificate),
        ("https.my_key", &config.https.my_key),
        ("https.my_ca", &config.https.my_ca),
    ] {
        if file.is_empty() {
            return Err((key, "must name a PEM file when https.enabled is true".to_owned()));
        }
        if let Err(reason) = std::fs::metadata(file) {
            return Err((key, format!("{file}: {reason}")));
        }
    }
    Ok(())
}
