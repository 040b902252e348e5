//! The `tokenizer.json` of vocabularies of characters, words and bytes gives their ids in `tokenizers`.

use proptest::prelude::*;
use rnnlm_vocab::{Corpus, CorpusOptions, Documents, LineEndConversion, Normalization, TokenKind, Vocab};
use tokenizers::Tokenizer;

/// A text with what the kinds and normalizations treat differently.
const TEXT: &str =
    "The Time Machine, by H. G. Wells [1898]\r\nIt's 42 <unk> é İ\u{307} Öz, 東京\u{2003}½\n\n a\rb  c\t<eos>\n";

fn vocabs() -> impl Iterator<Item = Vocab> {
    let all = TokenKind::ALL.into_iter().flat_map(|kind| {
        Normalization::ALL.into_iter().flat_map(move |normalization| {
            LineEndConversion::ALL.into_iter().flat_map(move |line_ends| {
                Documents::ALL.map(move |documents| (kind, normalization, line_ends, documents))
            })
        })
    });
    all.map(|(kind, normalization, line_ends, documents)| {
        let options = CorpusOptions {
            kind,
            normalization,
            line_ends,
            documents,
            reserved: vec!["<pad>".into()],
            ..CorpusOptions::default()
        };
        Corpus::from_bytes(TEXT.repeat(2).as_bytes(), &options).expect("a text").vocab
    })
}

/// The ids of the vocabulary and those of the library.
fn ids(vocab: &Vocab, tokenizer: &Tokenizer, text: &str) -> [Vec<u32>; 2] {
    let text = if vocab.documents() == Documents::None { text.to_owned() } else { text.replace(['\r', '\n'], " ") };
    let own = match vocab.end_token() {
        None => vocab.encode(&text).ids,
        Some(_) => vocab.encode_document(text.as_bytes()).expect("a line").ids,
    };
    [own, tokenizer.encode(text, true).expect("a text").get_ids().to_vec()]
}

#[test]
fn the_library_has_the_vocabulary_and_decodes_it() {
    for vocab in vocabs() {
        let tokenizer: Tokenizer = vocab.tokenizer_json().parse().unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), vocab.len());
        let is_word_of_documents = vocab.kind() == TokenKind::Word && vocab.end_token().is_some();
        let text = if is_word_of_documents { TEXT.replace("<eos>", "") } else { TEXT.to_owned() };
        let [own, of_library] = ids(&vocab, &tokenizer, &text);
        assert_eq!(own, of_library, "{} {} {}", vocab.kind(), vocab.normalization(), vocab.documents());
        let stream = vocab.encode("the time").ids;
        assert_eq!(tokenizer.decode(&stream, false).unwrap(), vocab.decode(&stream).unwrap(), "{}", vocab.kind());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_has_the_ids_of_the_library(text in "(\\PC|[ \\n\\r\\t]|[a-zA-Z']|<unk>|[éÉİß東½Ⅷ²\u{301}\u{345}\u{a0}\u{2028}]){0,40}") {
        for vocab in vocabs() {
            let tokenizer: Tokenizer = vocab.tokenizer_json().parse().unwrap();
            let [own, of_library] = ids(&vocab, &tokenizer, &text);
            prop_assert_eq!(own, of_library, "{} {} {:?} {}", vocab.kind(), vocab.normalization(), vocab.line_ends(), vocab.documents());
        }
    }
}
