//! Where an app's own page is.

use serde_json::Value;

/// The address of an app by the first TCP port of its manifest, on the host that a request was for; `None` where the
/// manifest names no port.
///
/// Ports are as the store wrote them: `8080`, `"8080"`, or `"8080:80/tcp"` and `"127.0.0.1:8080:80"` as Compose has them;
/// a list of these, or a map from names to them.
pub fn page_of(ports: &Value, reached: &str) -> Option<String> {
    let port = match ports {
        Value::Array(ports) => ports.iter().find_map(port)?,
        Value::Object(ports) => ports.values().find_map(port)?,
        one => port(one)?,
    };
    let host = without_port(reached);
    let scheme = if matches!(port, 443 | 8443) { "https" } else { "http" };
    let known = url::Url::parse(&format!("{scheme}://{host}:{port}/")).ok()?;
    (known.username().is_empty() && known.path() == "/").then(|| known.to_string())
}

fn port(value: &Value) -> Option<u16> {
    if let Some(number) = value.as_u64() {
        return u16::try_from(number).ok().filter(|port| *port != 0);
    }
    let text = value.as_str()?.trim();
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let mut parts = text.rsplit(':');
    let last = parts.next()?;
    // The port in the container comes last; the one that is published before it.
    let published = parts.next().unwrap_or(last);
    published.parse().ok().filter(|port| protocol == "tcp" && *port != 0)
}

/// A `Host` without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_port_and_the_hosts_name_make_the_address() {
        for (ports, host, expected) in [
            (json!([8080, 9090]), "nas.lan:8099", Some("http://nas.lan:8080/")),
            (json!(["53:53/udp", "8081:80"]), "127.0.0.1", Some("http://127.0.0.1:8081/")),
            (json!(["127.0.0.1:8082:80/tcp"]), "[::1]:8099", Some("http://[::1]:8082/")),
            (json!({"http": "8443"}), "localhost", Some("https://localhost:8443/")),
            (json!(80), "localhost:1", Some("http://localhost/")),
            (json!(["x", 0, 70000, {}]), "localhost", None),
            (json!(null), "localhost", None),
            (json!([80]), "a b", None),
            (json!([80]), "me@evil/..", None),
        ] {
            assert_eq!(page_of(&ports, host).as_deref(), expected, "{ports} {host}");
        }
    }
}
