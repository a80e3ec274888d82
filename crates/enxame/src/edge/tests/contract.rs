//! The provider's `OpenAPI` document, held against requests and answers. Knows of `OpenAPI` 3.0 what the document uses.

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) const TEXT: &str = include_str!("../../../tests/contracts/hostinger-vps-firewall.openapi.json");

/// What is wrong, by field, as a 422 tells it.
pub(super) type Violations = BTreeMap<String, Vec<String>>;

pub(super) struct Contract(Value);

/// An operation and the numbers in its path.
pub(super) struct Call<'a> {
    pub(super) operation: &'a Value,
    pub(super) numbers: Vec<u64>,
}

impl Call<'_> {
    pub(super) fn id(&self) -> &str {
        self.operation["operationId"].as_str().unwrap()
    }
}

impl Contract {
    pub(super) fn load() -> Self {
        Self(serde_json::from_str(TEXT).unwrap())
    }

    pub(super) fn call(&self, method: &str, path: &str) -> Option<Call<'_>> {
        let parts: Vec<&str> = path.split('/').collect();
        self.0["paths"].as_object().unwrap().iter().find_map(|(template, methods)| {
            let operation = methods.get(method.to_lowercase())?;
            let names: Vec<&str> = template.split('/').collect();
            let mut numbers = Vec::new();
            for (name, part) in names.iter().zip(&parts) {
                if name.starts_with('{') {
                    numbers.push(part.parse().ok()?);
                } else if name != part {
                    return None;
                }
            }
            (names.len() == parts.len()).then_some(Call { operation, numbers })
        })
    }

    pub(super) fn check_request(&self, call: &Call<'_>, query: &str, body: &[u8]) -> Violations {
        let mut checking = Checking { contract: self, unknown: Unknown::Taken, found: Violations::new() };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let known = call.operation["parameters"].as_array().into_iter().flatten().find(|parameter| {
                let parameter = self.resolved(parameter);
                parameter["in"] == "query" && parameter["name"] == name
            });
            match known.map(|parameter| &self.resolved(parameter)["schema"]) {
                None => checking.add(name, "is not a parameter"),
                Some(schema) => {
                    let value = value.parse::<u64>().map_or_else(|_| value.into(), Value::from);
                    checking.check(schema, &value, name);
                }
            }
        }
        let wanted = &call.operation["requestBody"]["content"]["application/json"]["schema"];
        if !wanted.is_null() {
            match serde_json::from_slice(body) {
                Ok(value) => checking.check(wanted, &value, ""),
                Err(_) => checking.add("body", "is not JSON"),
            }
        }
        checking.found
    }

    /// `None`: the document does not know that status.
    pub(super) fn check_response(&self, call: &Call<'_>, status: u16, body: &Value) -> Option<Violations> {
        let response = self.resolved(call.operation["responses"].get(status.to_string())?);
        let mut checking = Checking { contract: self, unknown: Unknown::Refused, found: Violations::new() };
        let schema = &response["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{} answers {status} without a body", call.id());
        checking.check(schema, body, "");
        Some(checking.found)
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.resolved(self.0.pointer(reference.trim_start_matches('#')).unwrap()),
            None => value,
        }
    }
}

/// A value on its way through a schema.
struct Checking<'a> {
    contract: &'a Contract,
    unknown: Unknown,
    found: Violations,
}

impl Checking<'_> {
    fn add(&mut self, field: &str, what: &str) {
        self.found.entry(field.to_owned()).or_default().push(format!("The {field} field {what}."));
    }

    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        let contract = self.contract;
        let schema = contract.resolved(schema);
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &&Value| {
                let mut inner = Checking { contract, unknown: self.unknown, found: Violations::new() };
                inner.check(choice, value, at);
                inner.found.is_empty()
            };
            if choices.iter().filter(fits).count() != 1 {
                self.add(at, "is not exactly one of its kinds");
            }
        }
        let fits = match schema["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64() || value.is_i64(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            Some(other) => panic!("the document has got the type {other}"),
            None => true,
        };
        if !fits {
            return self.add(at, &format!("must be of type {}", schema["type"]));
        }
        if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
            self.add(at, "is invalid");
        }
        if schema["format"] == "date-time" && !value.as_str().is_some_and(|text| text.contains('T')) {
            self.add(at, "is not a date and time");
        }
        let inside = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        for item in value.as_array().into_iter().flatten() {
            self.check(&schema["items"], item, &inside("item"));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                self.add(&inside(name), "is required");
            }
        }
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, inner) in value.as_object().into_iter().flatten() {
            match properties.get(name) {
                Some(schema) => self.check(schema, inner, &inside(name)),
                // A 422 names the request's fields, which no document can list.
                None if self.unknown == Unknown::Refused && at != "errors" => {
                    self.add(&inside(name), "is not in the document");
                }
                None => {}
            }
        }
    }
}

/// What becomes of fields that the document does not have.
#[derive(Clone, Copy, PartialEq)]
enum Unknown {
    Taken,
    Refused,
}
