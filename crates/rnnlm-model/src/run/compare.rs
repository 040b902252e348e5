//! The settings in which two configurations differ.

use serde::Serialize;
use serde_json::Value;

/// A setting with different values in two configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its path in `config.json`, such as `model.hidden_size`.
    pub name: String,
    /// The value in the first configuration, `null` if it is absent.
    pub first: Value,
    /// The value in the second configuration.
    pub second: Value,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is {} and not {}", self.name, self.first, self.second)
    }
}

/// The settings in which `second` differs from `first`.
///
/// # Panics
/// If a value cannot be serialized as JSON. Configurations always can.
pub fn differences<T: Serialize>(first: &T, second: &T) -> Vec<Difference> {
    let value = |config: &T| serde_json::to_value(config).expect("plain values are valid JSON");
    let mut found = Vec::new();
    compare("", &value(first), &value(second), &mut found);
    found
}

fn compare(name: &str, first: &Value, second: &Value, found: &mut Vec<Difference>) {
    let (Value::Object(a), Value::Object(b)) = (first, second) else {
        if first != second {
            found.push(Difference { name: name.to_owned(), first: first.clone(), second: second.clone() });
        }
        return;
    };
    let only_in_second = b.keys().filter(|key| !a.contains_key(*key));
    for key in a.keys().chain(only_in_second) {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        let value = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or(Value::Null);
        compare(&name, &value(a), &value(b), found);
    }
}

/// The differences in one line, for a message.
pub(crate) fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    #[test]
    fn differences_have_a_name_and_both_values() {
        let book = ModelConfig::book(28);
        assert_eq!(differences(&book, &book), []);
        let other = ModelConfig { hidden_size: 7, bidirectional: true, ..ModelConfig::book(28) };
        let text = list(&differences(&book, &other));
        assert_eq!(text, "`hidden_size` is 256 and not 7, `bidirectional` is false and not true");
        let nested = differences(&serde_json::json!({"a": {"b": 1}}), &serde_json::json!({"a": {"c": 2}}));
        assert_eq!(list(&nested), "`a.b` is 1 and not null, `a.c` is null and not 2");
    }
}
