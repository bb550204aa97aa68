//! What every kind tells, and when it tells it again.
#![expect(clippy::unwrap_used, reason = "the helpers of tests may do what tests may")]

use k8s_openapi::{
    api::core::v1::{Container, ExecAction, PodSpec, PodTemplateSpec, Probe},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use scone_api::{State, problem::Problem, report, template::Template};
use serde_json::json;

fn told(reason: &str) -> Vec<Condition> {
    let condition = json!({"type": "IsHealthy", "status": "False", "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    vec![serde_json::from_value(condition).unwrap()]
}

fn why(reason: &'static str) -> Problem {
    Problem::new(reason, "so it is".to_owned())
}

#[test]
fn an_event_tells_of_another_state_and_of_another_problem() {
    let conditions = told("NodeNotReady");
    let event = |before, state, reason| {
        report::event(Some((before, &conditions[..])), state, &why(reason)).map(|event| event.reason)
    };
    assert_eq!(event(State::Unhealthy, State::Unhealthy, "NodeNotReady"), None);
    assert_eq!(event(State::Unhealthy, State::Unhealthy, "Unschedulable").as_deref(), Some("Unschedulable"));
    assert_eq!(event(State::Unhealthy, State::Healthy, "Healthy").as_deref(), Some("Healthy"));
    assert_eq!(
        event(State::Pending, State::Pending, "PodsStarting"),
        None,
        "what waits changes its reason all the time"
    );
    assert_eq!(
        report::event(None, State::Pending, &why("Observing")).map(|event| event.reason).as_deref(),
        Some("Observing")
    );
}

fn template(probe: Option<Probe>) -> PodTemplateSpec {
    let container = Container { name: "cas".to_owned(), liveness_probe: probe, ..Container::default() };
    PodTemplateSpec { spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }), metadata: None }
}

fn probe(delay: i32) -> Probe {
    let exec = ExecAction { command: Some(vec!["true".to_owned()]) };
    Probe { exec: Some(exec), initial_delay_seconds: Some(delay), ..Probe::default() }
}

/// As the API server stores it: with defaults, without numbers that are nothing.
fn stored(probe: &str) -> Template {
    let probe: serde_json::Value = serde_json::from_str(probe).unwrap();
    serde_json::from_value(json!({"spec": {"containers": [{"name": "cas", "livenessProbe": probe}]}})).unwrap()
}

#[test]
fn a_probe_that_comes_goes_or_changes_is_a_difference_and_defaults_are_none() {
    const STORED: &str = r#"{"exec": {"command": ["true"]}, "initialDelaySeconds": 3, "periodSeconds": 10}"#;
    assert_eq!(stored(STORED).difference(&template(Some(probe(3)))), None);
    assert_eq!(stored(STORED).difference(&template(Some(probe(4)))), Some("livenessProbe"));
    assert_eq!(stored(STORED).difference(&template(None)), Some("livenessProbe"));
    assert_eq!(stored("null").difference(&template(Some(probe(3)))), Some("livenessProbe"));
    assert_eq!(stored("null").difference(&template(None)), None);
    let undelayed = r#"{"exec": {"command": ["true"]}, "periodSeconds": 10}"#;
    assert_eq!(stored(undelayed).difference(&template(Some(probe(0)))), None);
}
