//! What a module logs while it is called, natively and in the sandbox.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Once,
};

use operator_guest::{Cause, Manifest, Module, Settings, testing};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static CALL: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Makes a call of a module in the sandbox on this thread: what it gave, and what reached the host's log.
pub(crate) fn of_sandbox<T>(call: impl FnOnce() -> T) -> (T, Vec<String>) {
    static LISTENING: Once = Once::new();
    LISTENING
        .call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines)).unwrap());
    LINES.take();
    let given = call();
    (given, LINES.take())
}

/// The log of modules, for each thread by itself.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "module"
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        LINES.with_borrow_mut(|lines| lines.push(format!("{level}: {}", message.0)));
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Calls a module natively on this thread: what it gave, and what it logged.
///
/// The SDK tells the log of a call only to its own harness, which reads its input from YAML, and takes long for it. So the harness is given a
/// module that makes the call while its settings are judged.
pub(crate) fn of_native<T: 'static>(call: impl FnOnce() -> T + 'static) -> (T, Vec<String>) {
    const PARENT: &str = "parent: {apiVersion: base.scone.cloud/v1beta1, kind: SGXPlugin, metadata: {name: s}}";
    let given = Rc::new(Cell::new(None));
    let slot = Rc::clone(&given);
    CALL.set(Some(Box::new(move || slot.set(Some(call())))));
    let answer = testing::reconcile::<Caller>(PARENT).unwrap();
    (given.take().unwrap(), answer.logs)
}

/// The module that makes the call.
struct Caller;

impl Module for Caller {
    type Parent = <sgxplugin::SGXPluginModule as Module>::Parent;

    fn manifest() -> Manifest {
        sgxplugin::SGXPluginModule::manifest()
    }

    /// Refused, so that nothing else is called.
    fn validate_settings(_: &Settings) -> Result<(), Vec<Cause>> {
        CALL.take().unwrap()();
        Err(Vec::new())
    }
}
