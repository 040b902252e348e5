//! The prefixes of samples and of generated text if the user names none.

use rnnlm_model::{Error, RunConfig};
use rnnlm_vocab::Vocab;

use crate::failure::Result;
use crate::prefix::PrefixText;

/// The book's text, and the bundled text in its style.
const TEXTS_OF_THE_BOOK: [&str; 2] = ["timemachine", "sample"];
/// The book's prefixes.
const PREFIXES_OF_THE_BOOK: [&str; 2] = ["time traveller", "traveller"];

/// The book's prefixes, if the corpus with this name is its text.
pub(crate) fn of_book(corpus: &str) -> Option<[&'static str; 2]> {
    TEXTS_OF_THE_BOOK.contains(&corpus).then_some(PREFIXES_OF_THE_BOOK)
}

/// The prefixes for a text: the start of a document; else the book's for its text; else the start of a line. A stream
/// without line ends, such as one of words, starts with its most frequent token, which is what an empty prefix means.
pub(crate) fn of_text(corpus: &str, vocab: &Vocab) -> Vec<PrefixText> {
    if vocab.end_token().is_some() {
        return vec![PrefixText::literal("")];
    }
    if let Some(prefixes) = of_book(corpus) {
        return prefixes.map(PrefixText::literal).to_vec();
    }
    let ids = vocab.encode_prefix("\n").ids;
    let has_line_ends = !ids.is_empty() && !ids.iter().any(|&id| vocab.is_unknown(id));
    vec![PrefixText::literal(if has_line_ends { "\n" } else { "" })]
}

/// The prefixes of a run's samples: `named`, else those for its text; none for a bidirectional model, which cannot
/// generate.
pub(crate) fn of_samples(named: Vec<PrefixText>, config: &RunConfig, vocab: &Vocab) -> Vec<PrefixText> {
    match named {
        _ if config.model.bidirectional => Vec::new(),
        named if named.is_empty() => of_text(&config.corpus.name, vocab),
        named => named,
    }
}

/// The first prefix of a run's samples; that of its text if the run is older than the setting or is imported.
///
/// # Errors
/// [`Error::Damaged`] if `config.json` has a prefix that no flag accepts.
pub(crate) fn of_run(config: Option<&RunConfig>, vocab: &Vocab) -> Result<PrefixText> {
    let first = config.and_then(|config| config.options.prefixes.as_ref()?.first());
    if let Some(prefix) = first {
        return prefix.parse().map_err(|error| {
            let reason = format!("`options.prefixes` has `{prefix}`: {error}");
            Error::Damaged { path: "config.json".into(), reason }.into()
        });
    }
    let corpus = config.map_or("", |config| &config.corpus.name);
    Ok(of_text(corpus, vocab).swap_remove(0))
}

#[cfg(test)]
mod tests {
    use rnnlm_vocab::{Corpus, CorpusOptions, Normalization, TokenKind};

    use super::*;

    fn vocab(kind: TokenKind, normalization: Normalization) -> Vocab {
        let options = CorpusOptions { kind, normalization, ..CorpusOptions::default() };
        Corpus::from_bytes(b"ann\nbob\n", &options).expect("two names").vocab
    }

    #[test]
    fn the_book_has_its_prefixes_and_other_texts_start_a_line() {
        let prefixes =
            |corpus, vocab: &Vocab| -> Vec<String> { of_text(corpus, vocab).iter().map(PrefixText::to_text).collect() };
        let chars = vocab(TokenKind::Char, Normalization::None);
        assert_eq!(prefixes("timemachine", &chars), ["time traveller", "traveller"]);
        assert_eq!(prefixes("sample", &chars), ["time traveller", "traveller"]);
        assert_eq!(prefixes("names.txt", &chars), ["\n"]);
        assert_eq!(prefixes("names.txt", &vocab(TokenKind::Byte, Normalization::None)), ["\n"]);
        assert_eq!(prefixes("names.txt", &vocab(TokenKind::Word, Normalization::None)), [""]);
        assert_eq!(prefixes("names.txt", &vocab(TokenKind::Char, Normalization::Book)), [""]);
        assert_eq!(of_run(None, &chars).unwrap().to_text(), "\n");
    }
}
