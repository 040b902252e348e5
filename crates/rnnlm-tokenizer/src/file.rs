//! Checks of a `tokenizer.json`: its ids, and whether it can encode every text.

use std::collections::HashMap;

use rnnlm_vocab::{MAX_TOKENS, byte_level_character};
use serde_json::Value;

use crate::decoder::kind;

/// Special tokens that end a document, in order of preference.
const END_TOKENS: [&str; 6] = ["<eos>", "<|endoftext|>", "</s>", "<|end_of_text|>", "[EOS]", "[SEP]"];

/// The names of the tokens in id order, or the reason why the ids cannot be used.
pub(crate) fn names_in_order(ids: HashMap<String, u32>) -> Result<Vec<String>, String> {
    let len = ids.len();
    if len == 0 {
        return Err("it has no tokens".to_owned());
    }
    if len > MAX_TOKENS {
        return Err(format!("it has {len} tokens, at most {MAX_TOKENS} can be used"));
    }
    let mut sorted: Vec<(u32, String)> = ids.into_iter().map(|(name, id)| (id, name)).collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("`{}` and `{}` both have the id {}", pair[0].1, pair[1].1, pair[0].0));
    }
    match (0..).zip(&sorted).find(|(expected, (id, _))| expected != id) {
        None => Ok(sorted.into_iter().map(|(_, name)| name).collect()),
        Some((missing, _)) => {
            let (last, name) = &sorted[len - 1];
            Err(format!(
                "`{name}` has the id {last}, but there are {len} tokens, whose ids must be 0 to {}: no token has the id \
                 {missing}",
                len - 1
            ))
        }
    }
}

/// The name of the token that ends a document: a special token with one of the usual names.
pub(crate) fn end_token(file: &Value) -> Option<&'static str> {
    let is_special = |name: &str| {
        let tokens = file["added_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
        tokens.iter().any(|token| token["content"] == name && token["special"] == true)
    };
    END_TOKENS.into_iter().find(|name| is_special(name))
}

/// The id of the unknown token, or the reason why some text cannot be encoded. `None` if there is no such text. `id` finds the
/// id of a token.
pub(crate) fn unknown_id(file: &Value, id: impl Fn(&str) -> Option<u32>) -> Result<Option<u32>, String> {
    let model = &file["model"];
    if model["dropout"].as_f64().is_some_and(|dropout| dropout > 0.0) {
        return Err(format!("its dropout is {}, so a text would have other ids each time", model["dropout"]));
    }
    let unknown = match kind(model) {
        "Unigram" => match model["unk_id"].as_u64().map(u32::try_from) {
            Some(id) => Some(id.map_err(|_| format!("`unk_id` is {}", model["unk_id"]))?),
            None => None,
        },
        _ => match model["unk_token"].as_str() {
            Some(name) => Some(id(name).ok_or_else(|| format!("`unk_token` is `{name}`, which is no token"))?),
            None => None,
        },
    };
    let has_fallback = model["byte_fallback"] == true;
    let has_all = |name: fn(u8) -> String| (0..=255).all(|byte| id(&name(byte)).is_some());
    let has_all_bytes = match kind(model) {
        "BPE" if has_byte_level(&file["pre_tokenizer"]) => has_all(|byte| byte_level_character(byte).into()),
        "BPE" | "Unigram" if has_fallback => has_all(|byte| format!("<0x{byte:02X}>")),
        _ => false,
    };
    match unknown {
        None if !has_all_bytes => {
            Err("it has no unknown token and not all 256 bytes, so it cannot encode every text".to_owned())
        }
        unknown => Ok(unknown),
    }
}

/// Whether a pre-tokenizer writes bytes as characters.
fn has_byte_level(pre_tokenizer: &Value) -> bool {
    let parts = pre_tokenizer["pretokenizers"].as_array().map(Vec::as_slice).unwrap_or_default();
    kind(pre_tokenizer) == "ByteLevel" || parts.iter().any(has_byte_level)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(ids: &[(&str, u32)]) -> String {
        names_in_order(ids.iter().map(|&(name, id)| (name.to_owned(), id)).collect()).expect_err("bad ids")
    }

    #[test]
    fn ids_have_no_gaps_and_no_two_tokens() {
        assert_eq!(reason(&[]), "it has no tokens");
        assert_eq!(reason(&[("a", 0), ("b", 1), ("c", 1)]), "`b` and `c` both have the id 1");
        let hole = reason(&[("a", 0), ("b", 2)]);
        assert_eq!(hole, "`b` has the id 2, but there are 2 tokens, whose ids must be 0 to 1: no token has the id 1");
        let names = names_in_order(HashMap::from([("b".to_owned(), 1), ("a".to_owned(), 0)])).expect("two tokens");
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_model_without_unknown_token_needs_all_bytes() {
        let none = |_: &str| None;
        let all = |name: &str| (name.chars().count() == 1).then_some(0);
        let bpe = |unknown: Value| {
            json!({"model": {"type": "BPE", "unk_token": unknown, "byte_fallback": false},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}})
        };
        assert_eq!(unknown_id(&bpe(Value::Null), all), Ok(None));
        assert!(unknown_id(&bpe(Value::Null), none).expect_err("no bytes").contains("all 256 bytes"));
        assert_eq!(unknown_id(&bpe(json!("<unk>")), |_| Some(3)), Ok(Some(3)));
        assert_eq!(unknown_id(&bpe(json!("<unk>")), none), Err("`unk_token` is `<unk>`, which is no token".to_owned()));
        let fallback = json!({"model": {"type": "BPE", "byte_fallback": true}});
        assert_eq!(unknown_id(&fallback, |name| (name == "<0xE9>" || name.len() == 6).then_some(0)), Ok(None));
        assert!(unknown_id(&fallback, |name| (name != "<0xE9>").then_some(0)).is_err());
        let unigram = json!({"model": {"type": "Unigram", "unk_id": 2}});
        assert_eq!(unknown_id(&unigram, none), Ok(Some(2)));
        let dropout = json!({"model": {"type": "BPE", "dropout": 0.1, "unk_token": "a"}});
        assert_eq!(
            unknown_id(&dropout, |_| Some(0)),
            Err("its dropout is 0.1, so a text would have other ids each time".to_owned())
        );
    }

    #[test]
    fn the_end_token_is_a_special_token() {
        let file = |special: bool| json!({"added_tokens": [{"content": "</s>", "special": special}]});
        assert_eq!((end_token(&file(true)), end_token(&file(false))), (Some("</s>"), None));
    }
}
