//! Which addresses a client may make us call.
//!
//! A subscription, a registration or a context makes a service call a URL that somebody else chose (server-side request
//! forgery, F 25). Loopback and private addresses are what tasks on a node have and are allowed; link-local addresses,
//! where clouds serve machine credentials, are not, whether they are written as such ([`check`]) or come out of the name
//! service ([`Guarded`]). Redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Metadata services that do not have a link-local address.
const METADATA: [IpAddr; 2] =
    [IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)), IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200))];

/// Whether requests may go to this address.
#[must_use]
pub fn allowed(address: IpAddr) -> bool {
    let mapped = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    let link_local = match mapped {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.is_multicast(),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0) == 0xfe80 || v6.is_multicast(),
    };
    !link_local && !METADATA.contains(&mapped)
}

/// Checks a URL that a client gave.
///
/// # Errors
/// A sentence for the client when it is no absolute http or https URL or its host is refused.
pub fn check(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("`{url}` is not an absolute URL: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("`{url}` is neither http nor https"));
    }
    let host = parsed.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if literal.is_some_and(|address| !allowed(address)) || host.eq_ignore_ascii_case("metadata.google.internal") {
        return Err(format!("`{host}` is a link-local or metadata address, to which nothing is sent"));
    }
    Ok(parsed)
}

/// A resolver that leaves out refused addresses; for every HTTP client of a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|address| allowed(address.ip())).collect();
            if kept.is_empty() {
                return Err(format!("{} has no address to which anything is sent", name.as_str()).into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_refused_f25() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/x",
            "http://[::ffff:169.254.169.254]/x",
            "http://[fd00:ec2::254]/x",
            "http://metadata.google.internal/x",
            "http://2852039166/x", // the decimal spelling of 169.254.169.254
            "ftp://example.org/",
            "notify-me",
            "",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn tasks_on_this_machine_and_in_private_networks_are_allowed() {
        for url in
            ["http://127.0.0.1:8888/v2", "http://0.0.0.0:8888/v2", "http://10.0.0.5:8066", "http://[::1]:1/", "https://example.org/a"]
        {
            assert!(check(url).is_ok(), "{url}");
        }
    }
}
