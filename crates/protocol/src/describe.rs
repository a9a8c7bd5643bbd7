//! Describes the wire to other languages: one JSON Schema, one TypeScript module, both made from the types themselves.

use std::any::TypeId;
use std::collections::{BTreeMap, HashSet};

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use ts_rs::{Config, TS, TypeVisitor};

use crate::events::{self, EVENTS};
use crate::frames::{ClientFrame, ServerFrame};
use crate::methods::{self, Published, SubscribeOutcome, UnsubscribeOutcome};

/// A type that can tell its own shape, be read and be written.
pub trait Described: JsonSchema + TS + Serialize + DeserializeOwned + 'static {}
impl<T: JsonSchema + TS + Serialize + DeserializeOwned + 'static> Described for T {}

/// Sees every method with its two types, and every event that has a defined shape.
pub trait Visit {
    fn method<P: Described, R: Described>(&mut self, name: &'static str);
    fn event<D: Described>(&mut self, name: &'static str);
}

/// Shows `visit` all methods, then all events, each in the order of the documentation.
pub fn visit_all(visit: &mut impl Visit) {
    methods::describe(visit);
    events::describe(visit);
}

/// The whole wire as one JSON Schema document (draft 2020-12). A frame of either direction is valid against its root;
/// `$defs` holds every type, `x-methods` names each method's params and result, `x-events` each event's data.
pub fn json_schema() -> Value {
    struct Collect {
        generator: SchemaGenerator,
        methods: Map<String, Value>,
        events: Map<String, Value>,
    }
    impl Visit for Collect {
        fn method<P: Described, R: Described>(&mut self, name: &'static str) {
            let params = self.generator.subschema_for::<P>();
            let result = self.generator.subschema_for::<R>();
            self.methods.insert(name.to_owned(), json!({ "params": params, "result": result }));
        }

        fn event<D: Described>(&mut self, name: &'static str) {
            let data = self.generator.subschema_for::<D>();
            self.events.insert(name.to_owned(), data.to_value());
        }
    }

    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut all = Collect { generator, methods: Map::new(), events: Map::new() };
    visit_all(&mut all);
    let frames: [Schema; 2] =
        [all.generator.subschema_for::<ClientFrame>(), all.generator.subschema_for::<ServerFrame>()];
    let outcomes = json!({
        "publish": all.generator.subschema_for::<Published>(),
        "subscribe": all.generator.subschema_for::<SubscribeOutcome>(),
        "unsubscribe": all.generator.subschema_for::<UnsubscribeOutcome>(),
    });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Switchboard native wire",
        "description": "One frame of the WebSocket door /ws, from the client or from the hub.",
        "anyOf": frames,
        "$defs": all.generator.take_definitions(true),
        "x-methods": all.methods,
        "x-outcomes": outcomes,
        "x-events": all.events,
    });
    sorted(schema)
}

/// Keys in order, whatever the map's own order is in this build: the file must not depend on it.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            map.into_iter().map(|(k, v)| (k, sorted(v))).collect::<BTreeMap<_, _>>().into_iter().collect()
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The whole wire as one TypeScript module: every type, and the maps `Methods`, `Events` and `Outcomes`.
pub fn typescript() -> String {
    struct Maps<'a> {
        types: Types<'a>,
        methods: String,
        events: String,
    }
    impl Visit for Maps<'_> {
        fn method<P: Described, R: Described>(&mut self, name: &'static str) {
            let (params, result) = (self.types.name_of::<P>(), self.types.name_of::<R>());
            self.methods.push_str(&format!("  \"{name}\": {{ params: {params}; result: {result} }};\n"));
        }

        fn event<D: Described>(&mut self, name: &'static str) {
            let data = self.types.name_of::<D>();
            self.events.push_str(&format!("  \"{name}\": {data};\n"));
        }
    }

    let config = Config::new().with_large_int("number");
    let types = Types { config: &config, seen: HashSet::new(), declared: BTreeMap::new() };
    let mut all = Maps { types, methods: String::new(), events: String::new() };
    visit_all(&mut all);
    all.types.visit::<ClientFrame>();
    all.types.visit::<ServerFrame>();
    let outcomes = format!(
        "  subscribe: {};\n  unsubscribe: {};\n  publish: {};\n",
        all.types.name_of::<SubscribeOutcome>(),
        all.types.name_of::<UnsubscribeOutcome>(),
        all.types.name_of::<Published>(),
    );
    let names = EVENTS.iter().map(|name| format!("  | \"{name}\"")).collect::<Vec<_>>().join("\n");
    let Maps { types, methods, events } = all;
    let declared = types.declared.into_values().collect::<Vec<_>>().join("\n\n");
    format!(
        "// The native wire of Switchboard. Made from crates/protocol by its own test: do not edit.\n\n{declared}\n\n\
         /** What each method of a `request` takes and gives. */\nexport interface Methods {{\n{methods}}}\n\n\
         /** The `data` of each event that has a defined shape. */\nexport interface Events {{\n{events}}}\n\n\
         /** Every name that only the hub may publish. */\nexport type EventName =\n{names};\n\n\
         /** The `result` of other frames that carried an `id`. */\nexport interface Outcomes {{\n{outcomes}}}\n"
    )
}

/// Collects declarations by name, each type's dependencies with it.
struct Types<'a> {
    config: &'a Config,
    seen: HashSet<TypeId>,
    declared: BTreeMap<String, String>,
}

impl Types<'_> {
    fn name_of<T: TS + 'static>(&mut self) -> String {
        self.visit::<T>();
        T::visit_generics(self);
        T::name(self.config)
    }
}

impl TypeVisitor for Types<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Primitives have no file of their own: nothing to declare.
        if T::output_path().is_none() || !self.seen.insert(TypeId::of::<T>()) {
            return;
        }
        let docs = T::docs().unwrap_or_default();
        let text = format!("{docs}export {}", T::decl(self.config));
        let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        self.declared.insert(T::ident(self.config), text);
        T::visit_dependencies(self);
    }
}
