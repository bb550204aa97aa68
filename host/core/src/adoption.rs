//! Taking over an object that others made before: their claims to its fields become the module's.
//!
//! Server-side apply removes a field only when the manager that applied it gives it up. A field that another program once created by
//! a plain update would stay for ever, also when nobody wants it any more. So the claims of such programs are united with the
//! module's own before its first apply, which then decides about all of them.

use serde_json::{Map, Value, json};

/// What the API server calls the fields of objects that were made before it kept claims.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Kubernetes' own controllers go on to write what they claim, such as revisions.
const OF_KUBERNETES: &str = "kube-";

/// The object's claims with those of its makers handed to `manager`, as `metadata.managedFields`; none when nobody has one to hand
/// over. Claims by server-side apply stay: whoever made them still says what it wants. So do those to the status, and those under
/// another API version, whose fields may be called otherwise.
pub fn united_claims(object: &Value, manager: &str) -> Option<Value> {
    let api_version = object.get("apiVersion")?;
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let (taken, mut kept): (Vec<&Value>, Vec<&Value>) =
        entries.iter().partition(|entry| entry.get("apiVersion") == Some(api_version) && is_of_maker(entry));
    if taken.is_empty() {
        return None;
    }
    let ours = |entry: &&Value| {
        text(entry, "manager") == manager && text(entry, "operation") == "Apply" && entry.get("subresource").is_none()
    };
    let mut fields = kept.iter().find(|entry| ours(entry)).map(|entry| claim(entry)).unwrap_or_default();
    kept.retain(|entry| !ours(entry));
    for entry in &taken {
        unite(&mut fields, &claim(entry));
    }
    let mut claims: Vec<Value> = kept.into_iter().cloned().collect();
    claims.push(json!({
        "manager": manager, "operation": "Apply", "apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": fields,
    }));
    Some(Value::Array(claims))
}

/// Who else claims fields of the object itself, most recent first; for telling who writes against whom.
pub fn other_managers(object: &Value, manager: &str) -> Vec<String> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let mut others: Vec<&Value> =
        entries.filter(|entry| text(entry, "manager") != manager && entry.get("subresource").is_none()).collect();
    others.sort_by_key(|entry| std::cmp::Reverse(text(entry, "time")));
    others.into_iter().map(|entry| text(entry, "manager").to_owned()).collect()
}

fn is_of_maker(entry: &Value) -> bool {
    let manager = text(entry, "manager");
    let made = text(entry, "operation") == "Update" && !manager.starts_with(OF_KUBERNETES);
    entry.get("subresource").is_none() && (made || manager == BEFORE_FIRST_APPLY)
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn claim(entry: &Value) -> Map<String, Value> {
    entry.get("fieldsV1").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn unite(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => unite(into, from),
            (Some(_), _) => {}
            (None, value) => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
               "time": "2026-01-01T00:00:00Z"})
    }

    fn object(entries: &[Value]) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a", "managedFields": entries}})
    }

    #[test]
    fn what_a_program_made_by_updates_becomes_ours() {
        let made = entry("manager", "Update", json!({"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}}));
        let first = entry(BEFORE_FIRST_APPLY, "Update", json!({"f:spec": {"f:b": {"f:d": {}}}}));
        let claims = united_claims(&object(&[made, first]), "us").unwrap();
        let fields = json!({"f:spec": {"f:a": {}, "f:b": {"f:c": {}, "f:d": {}}}});
        assert_eq!(
            claims,
            json!([{"manager": "us", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields}])
        );
    }

    #[test]
    fn our_own_earlier_claim_is_kept_within_it() {
        let ours = entry("us", "Apply", json!({"f:spec": {"f:a": {}}}));
        let made = entry("manager", "Update", json!({"f:spec": {"f:b": {}}}));
        let claims = united_claims(&object(&[ours, made]), "us").unwrap();
        assert_eq!(claims[0]["fieldsV1"], json!({"f:spec": {"f:a": {}, "f:b": {}}}));
        assert_eq!(claims.as_array().unwrap().len(), 1);
    }

    #[test]
    fn claims_of_kubernetes_of_the_status_and_of_others_who_apply_stay() {
        let mut status = entry("manager", "Update", json!({"f:status": {}}));
        status["subresource"] = "status".into();
        let kept = [
            status,
            entry("kube-controller-manager", "Update", json!({"f:metadata": {}})),
            entry("helm", "Apply", json!({"f:spec": {}})),
        ];
        assert_eq!(united_claims(&object(&kept), "us"), None);
        let mut all = kept.to_vec();
        all.push(entry("kubectl-create", "Update", json!({"f:spec": {"f:x": {}}})));
        assert_eq!(united_claims(&object(&all), "us").unwrap().as_array().unwrap()[..3], kept);
    }

    #[test]
    fn a_claim_under_another_version_stays() {
        let mut old = entry("manager", "Update", json!({"f:spec": {}}));
        old["apiVersion"] = "extensions/v1beta1".into();
        assert_eq!(united_claims(&object(&[old]), "us"), None);
    }

    #[test]
    fn the_latest_other_manager_comes_first() {
        let mut late = entry("rival", "Update", json!({}));
        late["time"] = "2026-01-02T00:00:00Z".into();
        let object = object(&[entry("early", "Apply", json!({})), late, entry("us", "Apply", json!({}))]);
        assert_eq!(other_managers(&object, "us"), ["rival", "early"]);
    }
}
