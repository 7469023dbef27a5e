//! A container made again from another image: what a person set is kept, what the old image gave is taken from the new.
//!
//! The engine merges an image's configuration into a container's and shows only the sum. This is that merge undone
//! (moby, `daemon/commit.go`, `merge`), field by field. Everything is done on JSON, so that fields which nobody here
//! knows are kept as they are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// How to make a container again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The body of `POST /containers/create`.
    pub body: Value,
    /// Networks to connect it to before it starts: engines before API 1.44 take only one with the creation.
    pub connect: Vec<(String, Value)>,
    /// What will not be as it was.
    pub warnings: Vec<String>,
}

/// What a container's own inspection does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings<'a> {
    /// What the new one is made from.
    pub reference: &'a str,
    pub api: ApiVersion,
    pub mac: Mac,
    /// The volumes that it has from other containers (`--volumes-from`), by their names.
    pub volumes_of_others: BTreeSet<String>,
}

/// The MAC address that somebody has set in a container's first network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mac {
    /// This one, or none.
    Known(Option<String>),
    /// The engine does not say whether it has chosen the address itself.
    Unknown,
}

/// An engine's API version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

impl ApiVersion {
    /// Reads `1.41`; what cannot be read counts as old.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or_default());
        Self(numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }
}

/// Several networks in one creation, and a MAC address for each.
pub const MANY_NETWORKS: ApiVersion = ApiVersion(1, 44);
/// Aliases without the container's own names among them.
const CLEAN_ALIASES: ApiVersion = ApiVersion(1, 45);

/// Reads how to make `container` again, given the inspection of the image it was made from.
pub fn recipe(container: &Value, old_image: &Value, surroundings: &Surroundings<'_>) -> Recipe {
    let api = surroundings.api;
    let mut config = container["Config"].as_object().cloned().unwrap_or_default();
    let mut host = container["HostConfig"].as_object().cloned().unwrap_or_default();
    forget_image(&mut config, &old_image["Config"]);
    carry_volumes(&mut config, &mut host, &container["Mounts"], &surroundings.volumes_of_others);
    forget_hardening(&mut host);
    let id = container["Id"].as_str().unwrap_or_default();
    let mode = host.get("NetworkMode").and_then(Value::as_str).unwrap_or("default").to_owned();
    let foreign_uts = host.get("UTSMode").and_then(Value::as_str) == Some("host");
    let hostname = config.get("Hostname").and_then(Value::as_str).unwrap_or_default().to_owned();
    // The engine's own choice, or the name of whose network it shares: both would be refused or wrong.
    if shares_network(&mode) || foreign_uts || id.get(..12) == Some(hostname.as_str()) {
        config.remove("Hostname");
    }
    if mode.starts_with("container:") {
        config.remove("ExposedPorts");
    }
    clean_links(&mut host);
    forget_podman(&mut config, &mut host, &hostname);
    config.insert("Image".into(), surroundings.reference.into());
    if api >= MANY_NETWORKS {
        // There it belongs to a network.
        config.remove("MacAddress");
    }
    let (endpoints, connect) = networks(container, &mode, &hostname, surroundings);
    let mut warnings = Vec::new();
    if api >= MANY_NETWORKS && endpoints.len() > 1 && container["State"]["Running"] == false {
        let lost = "a MAC address that somebody may have set in a further network is not known while it does not run";
        warnings.push(lost.to_owned());
    }
    let mut body = Value::Object(config);
    body["HostConfig"] = Value::Object(host);
    body["NetworkingConfig"] = json!({ "EndpointsConfig": endpoints });
    Recipe { body, connect, warnings }
}

/// Lets an inspected container live in the namespaces of the one that replaced `old`.
pub fn join_replacement(inspected: &mut Value, old: &str, new: &str) {
    for key in ["NetworkMode", "PidMode", "IpcMode"] {
        let mode = &mut inspected["HostConfig"][key];
        if mode.as_str().and_then(|mode| mode.strip_prefix("container:")) == Some(old) {
            *mode = format!("container:{new}").into();
        }
    }
}

/// Podman lists variables that it sets itself, and names limits in a way that its own creation refuses.
fn forget_podman(config: &mut Map<String, Value>, host: &mut Map<String, Value>, hostname: &str) {
    if let Some(Value::Array(env)) = config.get_mut("Env")
        && env.contains(&"container=podman".into())
    {
        let own = ["container=podman".to_owned(), format!("HOSTNAME={hostname}")];
        env.retain(|entry| !own.iter().any(|own| entry == own));
    }
    for limit in host.get_mut("Ulimits").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(name) = limit["Name"].as_str().and_then(|name| name.strip_prefix("RLIMIT_")) {
            limit["Name"] = name.to_ascii_lowercase().into();
        }
    }
}

fn shares_network(mode: &str) -> bool {
    mode == "host" || mode.starts_with("container:")
}

/// Drops what came from the image.
fn forget_image(config: &mut Map<String, Value>, image: &Value) {
    for key in ["User", "WorkingDir", "StopSignal", "Shell", "OnBuild"] {
        if config.get(key).is_some_and(|value| *value == image[key]) {
            config.remove(key);
        }
    }
    if let Some(Value::Array(env)) = config.get_mut("Env") {
        let given = image["Env"].as_array().map(Vec::as_slice).unwrap_or_default();
        env.retain(|entry| !given.contains(entry));
    }
    if let Some(Value::Object(labels)) = config.get_mut("Labels") {
        labels.retain(|key, value| image["Labels"][key.as_str()] != *value);
    }
    for key in ["ExposedPorts", "Volumes"] {
        if let Some(Value::Object(entries)) = config.get_mut(key) {
            entries.retain(|entry, _| image[key][entry.as_str()].is_null());
        }
    }
    forget_command(config, image);
    forget_healthcheck(config, image);
}

/// An entrypoint that somebody set takes the image's command away, so an equal one must stay where the command is empty.
fn forget_command(config: &mut Map<String, Value>, image: &Value) {
    let empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    let value = |config: &Map<String, Value>, key: &str| config.get(key).cloned().unwrap_or_default();
    let (entrypoint, command) = (value(config, "Entrypoint"), value(config, "Cmd"));
    let same = |a: &Value, b: &Value| a == b || (empty(a) && empty(b));
    if !same(&entrypoint, &image["Entrypoint"]) {
        // `--entrypoint ""` is shown as none at all, which in a creation means the image's.
        if entrypoint.is_null() && !empty(&image["Entrypoint"]) {
            config.insert("Entrypoint".into(), json!([""]));
        }
        return;
    }
    if same(&command, &image["Cmd"]) {
        config.remove("Entrypoint");
        config.remove("Cmd");
    } else if !empty(&command) {
        config.remove("Entrypoint");
    }
}

fn forget_healthcheck(config: &mut Map<String, Value>, image: &Value) {
    let given = &image["Healthcheck"];
    let Some(Value::Object(healthcheck)) = config.get_mut("Healthcheck") else { return };
    healthcheck.retain(|key, value| given[key.as_str()] != *value);
    if healthcheck.is_empty() {
        config.remove("Healthcheck");
    }
}

/// Anonymous volumes are found only among the mounts; named in a bind they keep their data. Those of other containers
/// come from there again.
fn carry_volumes(
    config: &mut Map<String, Value>,
    host: &mut Map<String, Value>,
    mounts: &Value,
    of_others: &BTreeSet<String>,
) {
    let mut carried = Vec::new();
    for mount in mounts.as_array().into_iter().flatten().filter(|mount| mount["Type"] == "volume") {
        let (Some(name), Some(target)) = (mount["Name"].as_str(), mount["Destination"].as_str()) else { continue };
        if let Some(Value::Object(volumes)) = config.get_mut("Volumes") {
            volumes.retain(|path, _| cleaned(path) != target);
        }
        if of_others.contains(name) {
            continue;
        }
        if let Some(entry) = mount_of(host, target) {
            if entry["Source"].as_str().unwrap_or_default().is_empty() {
                entry["Source"] = name.into();
            }
        } else if !is_bound(host, target) {
            let suffix = if mount["RW"] == false { ":ro" } else { "" };
            carried.push(Value::from(format!("{name}:{target}{suffix}")));
        }
    }
    if carried.is_empty() {
        return;
    }
    match host.get_mut("Binds") {
        Some(Value::Array(binds)) => binds.extend(carried),
        _ => drop(host.insert("Binds".into(), carried.into())),
    }
}

fn mount_of<'a>(host: &'a mut Map<String, Value>, target: &str) -> Option<&'a mut Value> {
    host.get_mut("Mounts")?
        .as_array_mut()?
        .iter_mut()
        .find(|mount| mount["Type"] == "volume" && mount["Target"].as_str().map(cleaned).as_deref() == Some(target))
}

fn is_bound(host: &Map<String, Value>, target: &str) -> bool {
    let binds = host.get("Binds").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    binds.into_iter().any(|bind| bind.split(':').nth(1).map(cleaned).as_deref() == Some(target))
}

/// A path as the engine shows it among the mounts, however somebody has spelled it.
fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What engines hide of `/proc` and `/sys` unless somebody says otherwise, in all their versions.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// The same for each processor.
const MASKED_OF_PROCESSOR: (&str, &str) = ("/sys/devices/system/cpu/cpu", "/thermal_throttle");
/// What no engine lets be written.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Drops lists that an engine has filled in itself: a newer one knows more to hide.
fn forget_hardening(host: &mut Map<String, Value>) {
    let of_processor = |path: &str| {
        let (prefix, suffix) = MASKED_OF_PROCESSOR;
        path.starts_with(prefix) && path.ends_with(suffix)
    };
    let is_masked = |path: &str| MASKED.contains(&path) || of_processor(path);
    for (key, is_usual, core) in [
        ("MaskedPaths", &is_masked as &dyn Fn(&str) -> bool, ["/proc/kcore", "/proc/keys", "/sys/firmware"].as_slice()),
        ("ReadonlyPaths", &|path: &str| READ_ONLY.contains(&path), READ_ONLY.as_slice()),
    ] {
        let Some(paths) = host.get(key).and_then(Value::as_array) else { continue };
        let paths: Vec<_> = paths.iter().map(|path| path.as_str().unwrap_or_default()).collect();
        if paths.iter().all(|path| is_usual(path)) && core.iter().all(|path| paths.contains(path)) {
            host.remove(key);
        }
    }
}

/// An inspection says `/child:/parent/alias`; a creation wants `child:alias`.
fn clean_links(host: &mut Map<String, Value>) {
    let Some(Value::Array(links)) = host.get_mut("Links") else { return };
    for link in links {
        let Some((child, alias)) = link.as_str().and_then(|link| link.split_once(':')) else { continue };
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        *link = format!("{}:{alias}", child.trim_start_matches('/')).into();
    }
}

/// What somebody asked for of each network; addresses, gateways and the like are the engine's.
fn networks(
    container: &Value,
    mode: &str,
    hostname: &str,
    surroundings: &Surroundings<'_>,
) -> (Map<String, Value>, Vec<(String, Value)>) {
    let none = Map::new();
    let api = surroundings.api;
    if shares_network(mode) || mode == "none" {
        return (none, Vec::new());
    }
    let id = container["Id"].as_str().unwrap_or_default();
    let own_name = |alias: &Value| {
        let alias = alias.as_str().unwrap_or_default();
        !alias.is_empty() && (alias == hostname || (alias.len() == 12 && id.starts_with(alias)))
    };
    let first = if mode == "default" { "bridge" } else { mode };
    let (mut endpoints, mut connect) = (none, Vec::new());
    for (name, network) in container["NetworkSettings"]["Networks"].as_object().into_iter().flatten() {
        let mut endpoint = Map::new();
        for key in ["IPAMConfig", "Aliases", "Links", "DriverOpts", "GwPriority"] {
            if !network[key].is_null() {
                endpoint.insert(key.into(), network[key].clone());
            }
        }
        if let Some(Value::Array(aliases)) = endpoint.get_mut("Aliases").filter(|_| api < CLEAN_ALIASES) {
            aliases.retain(|alias| !own_name(alias));
        }
        let by_id = network["NetworkID"].as_str().is_some_and(|id| !id.is_empty() && id == first);
        let mac = match &surroundings.mac {
            Mac::Known(mac) if name == first || by_id => mac.as_deref(),
            _ => lasting_mac(network),
        };
        if let Some(mac) = mac.filter(|_| api >= MANY_NETWORKS) {
            endpoint.insert("MacAddress".into(), mac.into());
        }
        if api >= MANY_NETWORKS || name == first || by_id {
            endpoints.insert(name.clone(), endpoint.into());
        } else {
            connect.push((name.clone(), endpoint.into()));
        }
    }
    (endpoints, connect)
}

/// The address that a network shows, unless the engine has made it from the IP address, which may be another's next
/// time. One that was drawn by lot cannot be told from one that somebody has set, and can be kept like that.
fn lasting_mac(network: &Value) -> Option<&str> {
    let mac = network["MacAddress"].as_str().filter(|mac| !mac.is_empty())?;
    let octets = network["IPAddress"].as_str()?.parse::<std::net::Ipv4Addr>().ok().map(|address| address.octets());
    let derived = octets.map(|[a, b, c, d]| format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"));
    (derived.as_deref() != Some(mac)).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(api: ApiVersion) -> Surroundings<'static> {
        Surroundings { reference: "web:1", api, mac: Mac::Known(None), volumes_of_others: BTreeSet::new() }
    }

    const NEW: ApiVersion = ApiVersion(1, 51);
    const OLD: ApiVersion = ApiVersion(1, 41);

    fn body(container: Value, image: Value) -> Value {
        recipe(&container, &json!({ "Config": image }), &around(NEW)).body
    }

    #[test]
    fn what_podman_adds_and_spells_in_its_own_way_is_put_right() {
        let body = body(
            json!({"Id": "abcdefabcdef0000", "Config": {"Hostname": "abcdefabcdef",
                "Env": ["container=podman", "HOSTNAME=abcdefabcdef", "MINE=1"]},
                "HostConfig": {"Ulimits": [{"Name": "RLIMIT_NOFILE", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Hard": 3}]}}),
            json!({}),
        );
        assert_eq!(body["Env"], json!(["MINE=1"]));
        let limits = json!([{"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Hard": 3}]);
        assert_eq!(body["HostConfig"]["Ulimits"], limits);
    }

    #[test]
    fn what_the_image_gave_is_dropped_and_what_somebody_set_is_kept() {
        let body = body(
            json!({"Id": "abcdefabcdef0000", "Config": {
                "User": "app", "WorkingDir": "/mine", "StopSignal": "SIGKILL", "Hostname": "abcdefabcdef", "Image": "sha256:1",
                "Env": ["PATH=/bin", "VERSION=1", "MINE=2"], "Labels": {"version": "1", "mine": "x"},
                "ExposedPorts": {"80/tcp": {}, "9/tcp": {}}, "Future": {"kept": true}}, "HostConfig": {"Memory": 5, "New": 1}}),
            json!({"User": "app", "WorkingDir": "/", "StopSignal": "SIGKILL", "Env": ["PATH=/bin", "VERSION=1"],
                   "Labels": {"version": "1"}, "ExposedPorts": {"80/tcp": {}}}),
        );
        for gone in ["User", "StopSignal", "Hostname"] {
            assert!(body[gone].is_null(), "{gone}");
        }
        assert_eq!(body["WorkingDir"], "/mine");
        assert_eq!(body["Env"], json!(["MINE=2"]));
        assert_eq!(body["Labels"], json!({"mine": "x"}));
        assert_eq!(body["ExposedPorts"], json!({"9/tcp": {}}));
        assert_eq!(
            (&body["Image"], &body["Future"]["kept"], &body["HostConfig"]["New"]),
            (&json!("web:1"), &json!(true), &json!(1))
        );
    }

    #[test]
    fn entrypoint_and_command_follow_the_engines_merge() {
        let image = json!({"Entrypoint": ["/e"], "Cmd": ["c"]});
        let table = [
            (json!(["/e"]), json!(["c"]), Value::Null, Value::Null),
            (json!(["/e"]), json!(["mine"]), Value::Null, json!(["mine"])),
            (json!(["/e"]), Value::Null, json!(["/e"]), Value::Null),
            (Value::Null, json!(["mine"]), json!([""]), json!(["mine"])),
            (json!(["/mine"]), json!(["c"]), json!(["/mine"]), json!(["c"])),
        ];
        for (entrypoint, command, kept_entrypoint, kept_command) in table {
            let body = body(json!({"Config": {"Entrypoint": entrypoint, "Cmd": command}}), image.clone());
            assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&kept_entrypoint, &kept_command));
        }
    }

    #[test]
    fn a_healthcheck_is_compared_field_by_field() {
        let image = json!({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}});
        let check = |healthcheck: Value| {
            body(json!({"Config": {"Healthcheck": healthcheck}}), image.clone())["Healthcheck"].clone()
        };
        assert_eq!(check(json!({"Test": ["CMD", "x"], "Interval": 5})), Value::Null);
        assert_eq!(check(json!({"Test": ["CMD", "x"], "Interval": 9})), json!({"Interval": 9}));
        assert_eq!(check(json!({"Test": ["NONE"]})), json!({"Test": ["NONE"]}));
    }

    #[test]
    fn anonymous_volumes_keep_their_data() {
        let body = body(
            json!({"Config": {"Volumes": {"/data": {}, "/mine": {}}}, "HostConfig": {"Binds": ["named:/named"],
                   "Mounts": [{"Type": "volume", "Target": "/mounted"}]}, "Mounts": [
                {"Type": "volume", "Name": "v1", "Destination": "/data", "RW": true},
                {"Type": "volume", "Name": "v2", "Destination": "/mine", "RW": false},
                {"Type": "volume", "Name": "named", "Destination": "/named", "RW": true},
                {"Type": "volume", "Name": "v3", "Destination": "/mounted", "RW": true},
                {"Type": "bind", "Source": "/x", "Destination": "/y"}]}),
            json!({"Volumes": {"/data": {}}}),
        );
        assert_eq!(body["HostConfig"]["Binds"], json!(["named:/named", "v1:/data", "v2:/mine:ro"]));
        assert_eq!(body["HostConfig"]["Mounts"][0]["Source"], "v3");
        assert_eq!(body["Volumes"], json!({}));
    }

    #[test]
    fn a_shared_network_has_no_hostname_and_no_ports() {
        for mode in ["container:abc", "host"] {
            let container = json!({"Config": {"Hostname": "own", "ExposedPorts": {"1/tcp": {}}}, "HostConfig": {"NetworkMode": mode},
                                   "NetworkSettings": {"Networks": {"host": {}}}});
            let body = body(container, json!({}));
            assert!(body["Hostname"].is_null(), "{mode}");
            assert_eq!(body["NetworkingConfig"]["EndpointsConfig"], json!({}));
        }
    }

    #[test]
    fn networks_are_asked_for_as_they_were() {
        let container = json!({"Id": "abcdefabcdef99", "Config": {"Hostname": "host1"},
            "HostConfig": {"NetworkMode": "front", "Links": ["/db:/web/database"]},
            "NetworkSettings": {"Networks": {
                "front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}, "Aliases": ["www", "abcdefabcdef", "host1"], "IPAddress": "10.0.0.9", "MacAddress": "02:42"},
                "back": {"Aliases": ["abcdefabcdef"], "Gateway": "x"}}}});
        let old = recipe(&container, &json!({}), &around(OLD));
        let front = json!({"IPAMConfig": {"IPv4Address": "10.0.0.9"}, "Aliases": ["www"]});
        assert_eq!(old.body["NetworkingConfig"]["EndpointsConfig"], json!({ "front": front }));
        assert_eq!(old.connect, [("back".to_owned(), json!({"Aliases": []}))]);
        assert_eq!(old.body["HostConfig"]["Links"], json!(["db:database"]));
        let new = recipe(&container, &json!({}), &around(NEW));
        assert_eq!(new.body["NetworkingConfig"]["EndpointsConfig"].as_object().unwrap().len(), 2);
        assert!(new.connect.is_empty());
    }

    #[test]
    fn a_volume_is_found_however_its_path_is_spelled() {
        for path in ["/data/", "//data", "/data/.", "/x/../data", "/./data//", "/../data"] {
            let mounts = json!([
                {"Type": "volume", "Name": "v1", "Destination": "/data"}, {"Type": "volume", "Name": "v2", "Destination": "/data2"},
                {"Type": "volume", "Name": "v3", "Destination": "/data3"}]);
            let mount = json!({"Type": "volume", "Target": "/data2/"});
            let body = body(
                json!({"Config": {"Volumes": {"//data3/": {}}}, "Mounts": mounts,
                    "HostConfig": {"Binds": [format!("v1:{path}:rw")], "Mounts": [mount]}}),
                json!({}),
            );
            assert_eq!(body["HostConfig"]["Binds"], json!([format!("v1:{path}:rw"), "v3:/data3"]), "{path}");
            assert_eq!(
                (&body["HostConfig"]["Mounts"][0]["Source"], &body["Volumes"]),
                (&json!("v2"), &json!({})),
                "{path}"
            );
        }
    }

    #[test]
    fn volumes_of_other_containers_stay_theirs() {
        let container = json!({"Config": {}, "HostConfig": {"VolumesFrom": ["other"]}, "Mounts": [
            {"Type": "volume", "Name": "v1", "Destination": "/theirs"}, {"Type": "volume", "Name": "v2", "Destination": "/mine"}]});
        let around = Surroundings { volumes_of_others: ["v1".to_owned()].into(), ..around(NEW) };
        let host = recipe(&container, &json!({}), &around).body["HostConfig"].clone();
        assert_eq!((&host["Binds"], &host["VolumesFrom"]), (&json!(["v2:/mine"]), &json!(["other"])));
    }

    #[test]
    fn what_the_engine_hides_by_itself_is_left_to_the_next_engine() {
        let usual = [
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/sys/firmware",
            "/sys/devices/system/cpu/cpu7/thermal_throttle",
        ];
        for (masked, kept) in [
            (json!(usual), Value::Null),
            (json!([]), json!([])),
            (json!(["/proc/kcore", "/mine"]), json!(["/proc/kcore", "/mine"])),
            (json!(["/proc/kcore"]), json!(["/proc/kcore"])),
        ] {
            let host = body(json!({"HostConfig": {"MaskedPaths": masked, "ReadonlyPaths": READ_ONLY}}), json!({}))["HostConfig"].clone();
            assert_eq!((&host["MaskedPaths"], &host["ReadonlyPaths"]), (&kept, &Value::Null));
        }
    }

    #[test]
    fn an_address_that_somebody_set_stays_and_one_of_the_ip_address_goes() {
        let container = json!({"Id": "abcdefabcdef99", "Config": {"MacAddress": "02:00:00:00:00:01"}, "HostConfig": {"NetworkMode": "front"},
            "NetworkSettings": {"Networks": {
                "front": {"MacAddress": "02:00:00:00:00:01", "IPAddress": "10.0.0.9"},
                "back": {"MacAddress": "02:42:0a:01:00:09", "IPAddress": "10.1.0.9"},
                "side": {"MacAddress": "8e:01:02:03:04:05", "IPAddress": "10.2.0.9"}}}});
        for (mac, front) in [
            (Mac::Known(Some("02:00:00:00:00:01".into())), json!("02:00:00:00:00:01")),
            (Mac::Known(None), Value::Null),
            (Mac::Unknown, json!("02:00:00:00:00:01")),
        ] {
            let body = recipe(&container, &json!({}), &Surroundings { mac, ..around(NEW) }).body;
            let networks = &body["NetworkingConfig"]["EndpointsConfig"];
            let macs = ["front", "back", "side"].map(|network| networks[network]["MacAddress"].clone());
            assert_eq!((macs, &body["MacAddress"]), ([front, Value::Null, json!("8e:01:02:03:04:05")], &Value::Null));
        }
        let old = recipe(&container, &json!({}), &around(OLD));
        assert_eq!((&old.body["MacAddress"], old.connect.len()), (&json!("02:00:00:00:00:01"), 2));
    }
}
