//! Parents of the module `three_children`: many at once.

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{
    contenders::AT_ONCE,
    stage::{Stage, send},
};
use crate::Error;

/// Where the parents of a namespace are.
pub(crate) fn path(namespace: &str) -> String {
    format!("/apis/example.com/v1/namespaces/{namespace}/trios")
}

/// The name of one of them.
pub(crate) fn name(number: usize) -> String {
    format!("trio-{number:04}")
}

/// Makes so many in a new namespace.
pub(crate) async fn make(stage: &Stage, namespace: &str, count: usize) -> Result<(), Error> {
    stage.namespace(namespace).await?;
    let (path, client) = (path(namespace), &stage.client);
    let made = |number: usize| {
        let object = json!({"apiVersion": "example.com/v1", "kind": "Trio", "metadata": {"name": name(number)},
            "spec": {"text": "x".repeat(200)}});
        send(client, "POST", &path, "application/json", object.to_string().into_bytes())
    };
    futures::stream::iter(0..count).map(made).buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
}

/// All of a namespace.
pub(crate) async fn list(stage: &Stage, namespace: &str) -> Result<Vec<Value>, Error> {
    let mut list: Value = serde_json::from_str(&stage.get(&path(namespace)).await?)?;
    Ok(list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default())
}

/// Whether a parent is as it should be.
pub(crate) fn is_ready(trio: &Value) -> bool {
    let conditions = trio.pointer("/status/conditions").and_then(Value::as_array);
    let is = |condition: &Value, key: &str, value: &str| condition.get(key).is_some_and(|found| found == value);
    conditions.into_iter().flatten().any(|condition| is(condition, "type", "Ready") && is(condition, "status", "True"))
}
