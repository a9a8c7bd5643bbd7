//! What another reading of the configuration says otherwise, by key.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use super::Loaded;

/// Keys whose value is another one, is new or is gone, as the file writes them. Their values may be secrets.
pub fn differing(one: &Loaded, other: &Loaded) -> Vec<String> {
    let (one, other) = (leaves(one), leaves(other));
    let mut keys: Vec<String> = one.iter().filter(|(key, value)| other.get(*key) != Some(value)).map(key_of).collect();
    keys.extend(other.iter().filter(|(key, _)| !one.contains_key(*key)).map(key_of));
    keys.sort();
    keys
}

fn key_of((key, _): (&String, &String)) -> String {
    key.clone()
}

fn leaves(loaded: &Loaded) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(root) = loaded.layers.extract::<Dict>() {
        walk(&root, "", &mut found);
    }
    found
}

/// Values carry where they were set: two of different origin are compared by their text.
fn walk(dict: &Dict, path: &str, found: &mut BTreeMap<String, String>) {
    for (key, value) in dict {
        let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Dict(_, members) => walk(members, &key, found),
            leaf => drop(found.insert(key, serde_json::to_string(leaf).unwrap_or_default())),
        }
    }
}
