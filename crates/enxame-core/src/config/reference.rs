//! The reference page of `cluster.yaml`, from the JSON Schema of the types that read it.
//!
//! It is made where the test compares it with `docs/reference.md`; no verb prints it. Invariant: every key of the schema has one line, in the schema's order.

use std::fmt::Write;

use serde_json::Value;

/// Where the schema keeps what no JSON Schema has a word for: the unit of a number or text.
const UNIT: &str = "x-unit";

const HEAD: &str = "\
# Reference of cluster.yaml

Generated from the types that read the file; a test fails where the two differ. `nodes[]` is each entry of the list `nodes`,
and *text* any YAML scalar: `28.3`, `\"28.3\"` and `28.3.3` are all text. Keys that are not here are errors. What the keys do and what is
refused: [cluster-yaml.md](cluster-yaml.md).

| key | type | default | unit | meaning |
|---|---|---|---|---|
";

/// One line of the page.
struct Row {
    key: String,
    kind: String,
    default: String,
    unit: String,
    meaning: String,
}

/// The page, in Markdown.
pub(super) fn page(schema: &Value) -> String {
    let mut rows = Vec::new();
    rows_of(schema, schema, "", &mut rows);
    let mut page = HEAD.to_owned();
    for Row { key, kind, default, unit, meaning } in rows {
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{key}` | {kind} | {default} | {unit} | {meaning} |");
    }
    page
}

/// The keys of a mapping, each followed by those below it.
fn rows_of(root: &Value, mapping: &Value, above: &str, rows: &mut Vec<Row>) {
    let is_required = |key: &str| {
        let required = mapping.get("required").and_then(Value::as_array);
        required.is_some_and(|required| required.iter().any(|one| one == key))
    };
    for (key, schema) in mapping.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{above}{key}");
        let default = if is_required(key) { "required".to_owned() } else { default_of(root, schema) };
        rows.push(Row {
            kind: kind_of(root, schema),
            default,
            unit: schema.get(UNIT).and_then(Value::as_str).unwrap_or_default().to_owned(),
            meaning: meaning_of(root, schema),
            key: path.clone(),
        });
        if let Some(items) = schema.get("items") {
            rows_of(root, resolved(root, items), &format!("{path}[]."), rows);
        } else {
            rows_of(root, resolved(root, schema), &format!("{path}."), rows);
        }
    }
}

/// What a schema refers to, or itself; an optional value's schema is that of the value, and of a path or a mapping it is the
/// mapping's.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let alternatives = schema.get("anyOf").and_then(Value::as_array);
    let value =
        alternatives.and_then(|all| all.iter().find(|one| one.get("$ref").is_some())).unwrap_or(schema);
    let reference = value.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix('#'));
    reference.and_then(|at| root.pointer(at)).map_or(value, |target| resolved(root, target))
}

fn kind_of(root: &Value, schema: &Value) -> String {
    let schema = resolved(root, schema);
    if let Some(words) = words_of(schema) {
        return words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    match kind {
        Some("array") => {
            let items = schema.get("items").map_or("anything".to_owned(), |items| kind_of(root, items));
            format!("list of {items}")
        }
        Some("object") if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            "mapping of text to text".to_owned()
        }
        Some("object") => "mapping".to_owned(),
        Some("boolean") => "boolean".to_owned(),
        Some("integer") => {
            let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
            match (bound("minimum"), bound("maximum")) {
                (Some(least), Some(most)) if least == most => format!("integer: {least}"),
                (Some(least), Some(most)) => format!("integer, {least} to {most}"),
                (Some(least), None) => format!("integer, {least} or more"),
                (None, _) => "integer".to_owned(),
            }
        }
        Some("string") if schema.get("format").is_some_and(|format| format == "ip") => {
            "IPv4 or IPv6 address".to_owned()
        }
        Some("string") => match schema.get("pattern").and_then(Value::as_str) {
            Some(pattern) => format!("text like `{}`", in_cell(pattern)),
            None => "text".to_owned(),
        },
        _ => "anything".to_owned(),
    }
}

/// The words to choose from, and what each means; `None`: the value is free.
fn words_of(schema: &Value) -> Option<Vec<(&str, &str)>> {
    let word = |one| {
        let one: &Value = one;
        let meaning = one.get("description").and_then(Value::as_str).unwrap_or_default();
        Some((one.get("const")?.as_str()?, meaning))
    };
    schema.get("oneOf")?.as_array()?.iter().map(word).collect()
}

fn default_of(root: &Value, schema: &Value) -> String {
    match schema.get("default") {
        None if resolved(root, schema).get("properties").is_some() => "as below".to_owned(),
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => format!("`{}`", in_cell(text)),
        Some(value) => format!("`{}`", in_cell(&value.to_string())),
    }
}

fn meaning_of(root: &Value, schema: &Value) -> String {
    let own = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let target = resolved(root, schema);
    let words = words_of(target).or_else(|| words_of(resolved(root, target.get("items")?)));
    let words = words.into_iter().flatten().map(|(word, meaning)| format!(" `{word}`: {meaning}"));
    in_cell(&(own.to_owned() + &words.collect::<String>()))
}

/// A text that does not end its cell.
fn in_cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::v1::ClusterFile;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");

    fn schema() -> Value {
        serde_json::to_value(schemars::schema_for!(ClusterFile)).unwrap()
    }

    #[test]
    fn the_page_in_the_docs_is_what_the_types_generate() {
        let generated = page(&schema());
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(PAGE, &generated).unwrap();
        }
        let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(
            kept == generated,
            "docs/reference.md is not what the types of cluster.yaml generate; renew it: INSTA_UPDATE=always cargo \
             nextest run -p enxame-core the_page_in_the_docs"
        );
    }

    #[test]
    fn every_key_has_a_type_a_default_and_a_meaning() {
        let schema = schema();
        let mut rows = Vec::new();
        rows_of(&schema, &schema, "", &mut rows);
        for Row { key, kind, default, meaning, .. } in &rows {
            assert!(kind != "anything" && !default.is_empty() && !meaning.is_empty(), "{key}");
        }
        let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
        assert_eq!(row("nodes[].address").default, "required");
        assert_eq!(row("firewall.openings[].protocol").kind, "`tcp`, `udp`");
        assert_eq!(row("firewall.mesh").default, "`least`");
        assert_eq!(row("firewall.public_ports").default, "`[80,443]`");
        assert_eq!(row("ssh.allow_operator").default, "`true`");
        assert_eq!(row("swarm.address_pool").default, "`{\"base\":\"10.0.0.0/8\",\"size\":24}`");
        let heartbeat = row("swarm.heartbeat_seconds");
        assert_eq!(
            (heartbeat.kind.as_str(), heartbeat.default.as_str(), heartbeat.unit.as_str()),
            ("integer, 1 to 60", "`5`", "seconds")
        );
        assert_eq!(row("networks.underlay_mtu").unit, "bytes");
        // Every property of every mapping in the schema, counted another way.
        let maps = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        let keys: usize =
            maps.filter_map(|map| map["properties"].as_object()).map(serde_json::Map::len).sum();
        // The two keys of a pool stand under both of its places.
        assert_eq!(rows.len(), keys + 2);
    }
}
