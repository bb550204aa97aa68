//! Addresses and ports of Services: what the server gives where nothing is said, and what it cannot give.

use serde_json::{Value, json};

use super::{Cause, forbidden, invalid};

/// The ports that nodes listen on for Services.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Gives a Service its addresses and ports; tells what it asks for in vain. `others` are all other Services.
pub(crate) fn give(service: &mut Value, old: Option<&Value>, others: &[Value]) -> Vec<Cause> {
    let mut found = Vec::new();
    if text(service, "/spec/type") == "ExternalName" {
        return found;
    }
    cluster_ip(service, old, others);
    if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut)
        && spec.get("type").and_then(Value::as_str) != Some("LoadBalancer")
    {
        spec.remove("allocateLoadBalancerNodePorts");
    }
    if matches!(text(service, "/spec/type"), "NodePort" | "LoadBalancer") {
        if text(service, "/spec/clusterIP") == "None" {
            found.push(invalid("spec.clusterIPs[0]", "may not be set to 'None' for NodePort services"));
        }
        node_ports(service, old, others, &mut found);
    } else {
        no_node_ports(service, old, &mut found);
    }
    found
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn cluster_ip(service: &mut Value, old: Option<&Value>, others: &[Value]) {
    let taken = |address: &str| others.iter().any(|other| text(other, "/spec/clusterIP") == address);
    let given = text(service, "/spec/clusterIP").to_owned();
    let kept = old.map(|old| text(old, "/spec/clusterIP").to_owned()).filter(|kept| !kept.is_empty());
    let address = match (given.is_empty(), kept) {
        (false, _) => given,
        (true, Some(kept)) => kept,
        (true, None) => {
            let mut addresses = (10..65_535_u32).map(|number| format!("10.96.{}.{}", number >> 8, number & 255));
            addresses.find(|address| !taken(address)).unwrap_or_default()
        }
    };
    if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
        // Endpoints that nobody selects may be of any family.
        let any = old.is_none() && address == "None" && spec.get("selector").is_none();
        let families = if any { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
        let policy = json!(if any { "RequireDualStack" } else { "SingleStack" });
        for (field, value) in [("ipFamilyPolicy", policy), ("ipFamilies", families)] {
            let kept = old.and_then(|old| old.get("spec")?.get(field)).cloned();
            spec.entry(field).or_insert(kept.unwrap_or(value));
        }
        spec.insert("clusterIPs".into(), json!([address]));
        spec.insert("clusterIP".into(), address.into());
    }
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten()
}

fn node_port(port: &Value) -> Option<i64> {
    port.get("nodePort").and_then(Value::as_i64).filter(|number| *number != 0)
}

/// The number that the same port had before.
fn before(old: Option<&Value>, port: &Value) -> Option<i64> {
    let same = |other: &&Value| ["port", "protocol"].iter().all(|key| other.get(key) == port.get(key));
    node_port(ports(old?).find(same)?)
}

fn node_ports(service: &mut Value, old: Option<&Value>, others: &[Value], found: &mut Vec<Cause>) {
    let elsewhere: Vec<i64> = others.iter().flat_map(ports).filter_map(node_port).collect();
    let mut here: Vec<i64> = ports(service).filter_map(node_port).collect();
    for (index, number) in ports(service).enumerate().filter_map(|(index, port)| Some((index, node_port(port)?))) {
        let field = format!("spec.ports[{index}].nodePort");
        if !NODE_PORTS.contains(&number) {
            let message = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            found.push(invalid(&field, message));
        } else if elsewhere.contains(&number) {
            found.push(invalid(&field, "provided port is already allocated"));
        }
    }
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if node_port(port).is_some() {
            continue;
        }
        let free = |number: &i64| !elsewhere.contains(number) && !here.contains(number);
        let number = before(old, port).filter(free).or_else(|| NODE_PORTS.clone().find(free));
        if let (Some(map), Some(number)) = (port.as_object_mut(), number) {
            map.insert("nodePort".into(), number.into());
            here.push(number);
        }
    }
}

/// A Service that no longer listens on nodes loses what it was given there; numbers that somebody asks for are refused.
fn no_node_ports(service: &mut Value, old: Option<&Value>, found: &mut Vec<Cause>) {
    if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
        for field in ["externalTrafficPolicy", "allocateLoadBalancerNodePorts"] {
            spec.remove(field);
        }
    }
    let list = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (index, port) in list.into_iter().flatten().enumerate() {
        let Some(number) = node_port(port) else { continue };
        if before(old, port) == Some(number) {
            if let Some(map) = port.as_object_mut() {
                map.remove("nodePort");
            }
        } else {
            let field = format!("spec.ports[{index}].nodePort");
            found.push(forbidden(&field, "may not be used when `type` is 'ClusterIP'"));
        }
    }
}
