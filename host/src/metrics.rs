//! What is counted, in Prometheus' text form. Numbers of parents and modules only: never a name that a secret could stand in.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use operator_controller::{Error, Outcome, Witness};
use operator_core::{ObjectRef, Sample, status::Progress};
use operator_engine::Observer;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Begin of the names of what the operator counts itself.
const OWN: &str = "scone_operator_";

/// One module's reconciles by how they ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    module: String,
    /// `done`, `waiting`, `stalled`, `failed`; `spared` when everything was as before and the module was not called.
    outcome: &'static str,
    /// Why, for the last two; `host/REASONS.md` lists them.
    reason: &'static str,
}

/// One module's calls by function and how they ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    module: String,
    function: &'static str,
    /// `Ok`, or a reason.
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    module: String,
}

/// Requests of the API server by path and how they were answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    path: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Under {
    path: String,
}

/// Known only to some replicas, and only from some moment on: absent until then.
type Known = Family<Vec<(String, String)>, Gauge>;

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<Ended, Counter>,
    writes: Family<Of, Counter>,
    reconcile_seconds: Family<Of, Histogram>,
    calls: Family<Called, Counter>,
    call_seconds: Family<Of, Histogram>,
    memory_bytes: Family<Of, Gauge>,
    loads: Family<Ended, Counter>,
    /// The latest samples of each parent, as modules gave them.
    samples: Mutex<HashMap<ObjectRef, Arc<[Sample]>>>,
    objects: Gauge,
    refused_kinds: Gauge,
    missing_rights: Gauge,
    webhook_requests: Family<Answered, Counter>,
    webhook_seconds: Family<Under, Histogram>,
    webhook_reachable: Known,
    webhook_certificate: Known,
}

/// Seconds: a call takes microseconds to milliseconds, a reconcile up to seconds.
fn seconds() -> Histogram {
    Histogram::new([0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0])
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            writes: Family::default(),
            reconcile_seconds: Family::new_with_constructor(seconds),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(seconds),
            memory_bytes: Family::default(),
            loads: Family::default(),
            samples: Mutex::default(),
            objects: Gauge::default(),
            refused_kinds: Gauge::default(),
            missing_rights: Gauge::default(),
            webhook_requests: Family::default(),
            webhook_seconds: Family::new_with_constructor(seconds),
            webhook_reachable: Family::default(),
            webhook_certificate: Family::default(),
        };
        let registry = metrics.registry.sub_registry_with_prefix("scone_operator");
        registry.register("reconciles", "Reconciles by outcome and reason", metrics.reconciles.clone());
        registry.register("writes", "Writes to the API server", metrics.writes.clone());
        registry.register("reconcile_seconds", "How long reconciles take", metrics.reconcile_seconds.clone());
        registry.register("module_calls", "Calls of modules by function and outcome", metrics.calls.clone());
        registry.register("module_call_seconds", "How long calls of modules take", metrics.call_seconds.clone());
        registry.register("module_memory_bytes", "Memory of a module's latest call", metrics.memory_bytes.clone());
        registry.register("module_loads", "Loaded and refused module files", metrics.loads.clone());
        registry.register("cached_objects", "Objects in the caches", metrics.objects.clone());
        registry.register("webhook_requests", "Webhook requests by path and outcome", metrics.webhook_requests.clone());
        registry.register("webhook_request_seconds", "How long webhooks take", metrics.webhook_seconds.clone());
        registry.register(
            "webhook_reachable",
            "1 when the API server reaches the webhooks, 0 when not; the leader asks",
            metrics.webhook_reachable.clone(),
        );
        registry.register(
            "webhook_certificate_end_seconds",
            "When the webhook certificate ends, in Unix seconds",
            metrics.webhook_certificate.clone(),
        );
        registry.register("refused_kinds", "Kinds that the API server refuses to show", metrics.refused_kinds.clone());
        registry.register(
            "missing_rights",
            "Rights that modules need and the operator lacks",
            metrics.missing_rights.clone(),
        );
        Arc::new(metrics)
    }

    /// Hears of each call.
    pub(crate) fn observer(self: &Arc<Self>) -> Observer {
        let metrics = Arc::clone(self);
        Arc::new(move |generation, function, usage, failure| {
            let module = generation.name.to_string();
            let outcome = failure.map_or("Ok", |failure| failure.kind.reason());
            metrics.calls.get_or_create(&Called { module: module.clone(), function, outcome }).inc();
            metrics.call_seconds.get_or_create(&Of { module: module.clone() }).observe(usage.time.as_secs_f64());
            let bytes = i64::try_from(usage.memory_bytes).unwrap_or(i64::MAX);
            metrics.memory_bytes.get_or_create(&Of { module }).set(bytes);
        })
    }

    /// A webhook request was answered.
    pub(crate) fn answered(&self, path: &str, outcome: &'static str, took: Duration) {
        self.webhook_requests.get_or_create(&Answered { path: path.to_owned(), outcome }).inc();
        self.webhook_seconds.get_or_create(&Under { path: path.to_owned() }).observe(took.as_secs_f64());
    }

    /// Whether the API server reaches the webhooks.
    pub(crate) fn reachable(&self, reachable: bool) {
        self.webhook_reachable.get_or_create(&Vec::new()).set(reachable.into());
    }

    /// When the webhook certificate ends, in Unix seconds.
    pub(crate) fn certificate(&self, ends: i64) {
        self.webhook_certificate.get_or_create(&Vec::new()).set(ends);
    }

    /// A module file was taken or refused.
    pub(crate) fn loaded(&self, module: &str, outcome: &'static str, reason: &'static str) {
        self.loads.get_or_create(&Ended { module: module.to_owned(), outcome, reason }).inc();
    }

    /// Everything, with numbers as they are now: cached objects, kinds that the server refuses, rights that are missing.
    pub(crate) fn text(&self, objects: usize, refused_kinds: usize, missing_rights: usize) -> String {
        for (gauge, number) in
            [(&self.objects, objects), (&self.refused_kinds, refused_kinds), (&self.missing_rights, missing_rights)]
        {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        let end = text.strip_suffix("# EOF\n").map_or(text.len(), str::len);
        text.truncate(end);
        self.write_samples(&mut text);
        text.push_str("# EOF\n");
        text
    }

    /// Samples of modules, one family after the other, as the format wants it. A scraper refuses everything when one line is there twice, so of
    /// two samples with the same labels one counts, that of the first parent; and what looks like a number of the operator itself is left out.
    fn write_samples(&self, text: &mut String) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parents: Vec<_> = samples.iter().collect();
        parents.sort_by_key(|(parent, _)| *parent);
        let mut families: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
        for sample in parents.into_iter().flat_map(|(_, samples)| samples.iter()) {
            if !sample.name.starts_with(OWN) {
                families.entry(&sample.name).or_default().entry(labels(sample)).or_insert(sample.value);
            }
        }
        for (name, samples) in families {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# TYPE {name} gauge");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{{{labels}}} {value}");
            }
        }
    }
}

/// The labels of a sample, in their order; of a label that is there twice, the first.
fn labels(sample: &Sample) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in &sample.labels {
        labels.entry(key).or_insert(value);
    }
    labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

impl Witness for Metrics {
    fn reconciled(&self, module: &str, parent: &ObjectRef, result: &Result<Outcome, Error>, took: Duration) {
        let (outcome, reason) = match result {
            Ok(outcome) => match &outcome.progress {
                _ if outcome.spared => ("spared", ""),
                Progress::Done => ("done", ""),
                Progress::Waiting(_) => ("waiting", ""),
                Progress::Stalled { reason, .. } => ("stalled", *reason),
            },
            Err(error) => ("failed", error.reason()),
        };
        self.reconciles.get_or_create(&Ended { module: module.to_owned(), outcome, reason }).inc();
        let of = Of { module: module.to_owned() };
        self.reconcile_seconds.get_or_create(&of).observe(took.as_secs_f64());
        if let Ok(outcome) = result {
            let writes = outcome.written.len() + usize::from(outcome.reported) + outcome.events.len();
            self.writes.get_or_create(&of).inc_by(writes as u64);
            if outcome.plan.is_some() || outcome.spared {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples.insert(parent.clone(), outcome.samples.clone());
            }
        }
    }

    fn gone(&self, _: &str, parent: &ObjectRef) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).remove(parent);
    }

    fn leads_no_more(&self) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_modules_stand_in_families_with_escaped_labels() {
        let metrics = Metrics::new();
        let sample = |name: &str, value: f64| Sample {
            name: name.into(),
            value,
            labels: vec![("cr_name".into(), "a \"b\"".into())],
        };
        let parent = ObjectRef::cluster("v1", "Thing", "t");
        metrics
            .samples
            .lock()
            .unwrap()
            .insert(parent.clone(), Arc::from([sample("scone_las_state", 1.0), sample("scone_a", 2.5)]));
        let text = metrics.text(3, 0, 0);
        assert!(
            text.contains("# TYPE scone_a gauge\nscone_a{cr_name=\"a \\\"b\\\"\"} 2.5\n# TYPE scone_las_state gauge\n"),
            "{text}"
        );
        assert!(text.contains("scone_operator_cached_objects 3"), "{text}");
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
        metrics.gone("las", &parent);
        assert!(!metrics.text(0, 0, 0).contains("scone_las_state"));
    }

    #[test]
    fn no_sample_of_a_module_spoils_a_scrape() {
        let metrics = Metrics::new();
        let sample = |name: &str, labels: &[(&str, &str)], value: f64| Sample {
            name: name.into(),
            value,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let of = |parent: &str, samples: Vec<Sample>| {
            let parent = ObjectRef::cluster("v1", "Thing", parent);
            metrics.samples.lock().unwrap().insert(parent, samples.into());
        };
        of("b", vec![sample("scone_a", &[("x", "1"), ("y", "2")], 7.0)]);
        of(
            "a",
            vec![
                sample("scone_a", &[("y", "2"), ("x", "1")], 5.0),
                sample("scone_a", &[("x", "1"), ("x", "3")], 1.0),
                sample("scone_operator_reconciles_total", &[], 1.0),
            ],
        );
        let text = metrics.text(0, 0, 0);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("scone_a")).collect();
        assert_eq!(lines, ["scone_a{x=\"1\"} 1", "scone_a{x=\"1\",y=\"2\"} 5"]);
        assert!(!text.contains("# TYPE scone_operator_reconciles_total"), "{text}");
        metrics.leads_no_more();
        assert!(!metrics.text(0, 0, 0).contains("scone_a"), "another replica tells them now");
    }
}
