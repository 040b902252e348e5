//! Stages 1 and 2: properties that hold for every text.

#[cfg(feature = "compression")]
use std::io::Write;
use std::io::{self, Read};

use proptest::prelude::*;
use rnnlm_vocab::{
    Corpus, CorpusOptions, Encoding, LineEndConversion, Normalization, Source, TextSize, TokenKind, UNKNOWN_ID, Vocab,
};

/// Difficult texts: tokens that look like other tokens, all line ends, non-ASCII white space, combining marks.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => prop::sample::select(vec![
            "<unk>", "<0xE9>", "<s>", "<", ">", " ", "  ", "\n", "\r\n", "\r", "\t", "a", "b", "B", "the", "The", "'", "é",
            "e\u{301}", "\u{a0}", "\u{2003}", "\u{feff}", "\u{0}", "😀", "ß", "1",
        ])
        .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

fn options() -> impl Strategy<Value = CorpusOptions> {
    let reserved = prop::sample::select(vec![vec![], vec!["<s>".to_owned()], vec!["<s>".to_owned(), "the".to_owned()]]);
    let token_kinds = prop::sample::select(TokenKind::ALL.to_vec());
    let normalizations = prop::sample::select(Normalization::ALL.to_vec());
    let line_ends = prop::sample::select(LineEndConversion::ALL.to_vec());
    (token_kinds, normalizations, line_ends, 0..4_u64, 0..30_usize, reserved).prop_map(
        |(kind, normalization, line_ends, min_freq, max_tokens, reserved)| CorpusOptions {
            kind,
            normalization,
            line_ends,
            min_freq,
            max_tokens,
            reserved,
            ..CorpusOptions::default()
        },
    )
}

/// The lines of a text that is read with these options.
fn lines(text: &str, options: &CorpusOptions) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match options.line_ends {
        LineEndConversion::Keep => options.normalization.lines(text),
        LineEndConversion::Lf => options.normalization.lines(&text.replace("\r\n", "\n").replace('\r', "\n")),
    }
}

/// The normalized text of `lines`, in which line ends are tokens of words with punctuation.
fn normalized(text: &str, lines: &[String], options: &CorpusOptions) -> String {
    if options.normalization != Normalization::Book {
        return lines.concat();
    }
    let last = if text.ends_with(['\n', '\r']) { "\n" } else { "" };
    lines.join("\n") + last
}

/// Returns as many bytes at a time as the list states, again and again.
struct InPieces<'a>(&'a [u8], std::iter::Cycle<std::slice::Iter<'a, usize>>);

impl Read for InPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.next().map_or(1, |&length| length).min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

/// The corpus; `None` for a text without tokens.
fn corpus(text: &[u8], options: &CorpusOptions) -> Option<Corpus> {
    Corpus::from_bytes(text, options).ok()
}

/// All ids that tokenization can produce, except `<unk>`.
fn producible_ids(vocab: &Vocab) -> Vec<u32> {
    let first = match vocab.kind() {
        TokenKind::Word => 1,
        TokenKind::Char | TokenKind::Byte | TokenKind::WordPunct | TokenKind::Subword => 1 + vocab.reserved() as u32,
    };
    (first..vocab.len() as u32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn encode_is_the_inverse_of_decode(text in texts(), options in options(), order in prop::collection::vec(any::<u32>(), 0..50)) {
        // of words with punctuation, most sequences of tokens are read as other tokens
        prop_assume!(options.kind != TokenKind::WordPunct);
        let Some(Corpus { vocab, .. }) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let producible = producible_ids(&vocab);
        let ids: Vec<u32> = order.iter().filter_map(|&n| producible.get(n as usize % producible.len().max(1)).copied()).collect();
        let bytes = vocab.decode_bytes(&ids).unwrap();
        prop_assert_eq!(&vocab.encode_normalized(&bytes).unwrap(), &Encoding { ids: ids.clone(), ..Encoding::default() });
        let is_unchanged = options.normalization == Normalization::None && options.line_ends == LineEndConversion::Keep;
        if is_unchanged && options.kind != TokenKind::Byte {
            prop_assert_eq!(vocab.encode(&vocab.decode(&ids).unwrap()).ids, ids);
        }
    }

    #[test]
    fn encode_is_the_inverse_of_decode_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        let options = CorpusOptions { kind: TokenKind::Byte, normalization: Normalization::None, ..Default::default() };
        let Some(corpus) = corpus(&bytes, &options) else { return Ok(()) };
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        prop_assert_eq!(corpus.vocab.decode_bytes(&corpus.ids).unwrap(), text);
        prop_assert_eq!(corpus.vocab.encode_normalized(text).unwrap().ids, corpus.ids);
    }

    #[test]
    fn decoding_restores_the_normalized_text(text in texts(), options in options()) {
        let options = CorpusOptions { min_freq: 0, max_tokens: 0, reserved: vec![], ..options };
        let Some(corpus) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let decoded = corpus.vocab.decode(&corpus.ids).unwrap();
        let lines = lines(&text, &options);
        match options.kind {
            TokenKind::Word => {
                let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
                prop_assert_eq!(&decoded, &words.join(" "));
            }
            TokenKind::WordPunct => prop_assert_eq!(&decoded, &normalized(&text, &lines, &options)),
            TokenKind::Char | TokenKind::Byte | TokenKind::Subword => prop_assert_eq!(&decoded, &lines.concat()),
        }
        // Normalization is idempotent.
        prop_assert_eq!(corpus.vocab.encode(&decoded).ids, corpus.ids);
    }

    #[test]
    fn an_extended_vocabulary_keeps_its_ids(first in texts(), second in texts(), options in options(), max_vocab in 0..5_usize) {
        let Some(Corpus { vocab, .. }) = corpus(first.as_bytes(), &options) else { return Ok(()) };
        let with = CorpusOptions { max_vocab, ..options.clone() };
        let Ok(extended) = Corpus::extend([Ok(Source::from_bytes(second.as_bytes()))], &vocab, &with) else { return Ok(()) };
        let old = Corpus::encode_bytes(second.as_bytes(), vocab.clone(), options.max_tokens).unwrap();
        prop_assert!(extended.vocab.tokens().zip(vocab.tokens()).all(|(new, old)| new == old));
        prop_assert!(extended.vocab.len() >= vocab.len());
        prop_assert!(max_vocab == 0 || extended.vocab.len() <= vocab.len() + max_vocab);
        for (&new, &old) in extended.ids.iter().zip(&old.ids) {
            prop_assert!(new == old || old == UNKNOWN_ID && (new as usize) >= vocab.len());
        }
        let total: u64 = extended.vocab.frequencies().iter().sum();
        prop_assert_eq!(total, vocab.frequencies().iter().sum::<u64>() + extended.tokens);
        prop_assert_eq!(Vocab::from_json(extended.vocab.to_json().unwrap().as_bytes()).unwrap(), extended.vocab);
    }

    #[test]
    fn max_vocab_keeps_a_prefix_of_the_vocabulary(text in texts(), options in options(), max_vocab in 1..8_usize) {
        let Some(all) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let some = corpus(text.as_bytes(), &CorpusOptions { max_vocab, ..options }).unwrap();
        let kept = all.vocab.len().min(1 + all.vocab.reserved() + max_vocab);
        prop_assert!(some.vocab.tokens().eq(all.vocab.tokens().take(kept)));
        let expected = all.ids.iter().map(|&id| if (id as usize) < kept { id } else { UNKNOWN_ID });
        prop_assert!(some.ids.iter().copied().eq(expected));
    }

    #[test]
    fn book_normalization_matches_the_regular_expression_in_the_book(text in texts()) {
        let reference = |line: &str| {
            let padded: String = line.chars().map(|c| if c.is_ascii_alphabetic() { c } else { ' ' }).collect();
            padded.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
        };
        let unified = text.replace("\r\n", "\n").replace('\r', "\n");
        let expected: Vec<String> = unified.split_terminator('\n').map(reference).collect();
        prop_assert_eq!(Normalization::Book.lines(&text), expected);
    }

    #[test]
    fn tokens_are_ordered_by_frequency_then_first_occurrence(text in texts(), options in options()) {
        let Some(corpus) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let lines = lines(&text, &options);
        let all: Vec<String> = match options.kind {
            TokenKind::WordPunct => options.kind.tokens(&normalized(&text, &lines, &options)),
            kind => lines.iter().flat_map(|line| kind.tokens(line)).collect(),
        };
        let count = |token: &str| all.iter().filter(|other| *other == token).count() as u64;
        let mut expected: Vec<&String> = Vec::new();
        for token in &all {
            let fixed = options.reserved.contains(token) || token == "<unk>" && options.kind == TokenKind::Word;
            if !fixed && count(token) >= options.min_freq && !expected.contains(&token) {
                expected.push(token);
            }
        }
        expected.sort_by_key(|token| std::cmp::Reverse(count(token)));
        let tokens: Vec<&str> = corpus.vocab.tokens().collect();
        let reserved = options.reserved.len();
        prop_assert_eq!(tokens[0], "<unk>");
        prop_assert_eq!(&tokens[1..=reserved], &options.reserved);
        prop_assert_eq!(&tokens[reserved + 1..], &expected);
        for (id, token) in tokens.iter().enumerate().skip(1) {
            prop_assert_eq!(corpus.vocab.frequencies()[id], count(token));
            prop_assert_eq!(corpus.vocab.id(token), Some(id as u32));
        }
        prop_assert_eq!(corpus.vocab.frequencies().iter().sum::<u64>(), corpus.tokens);
        prop_assert_eq!(corpus.tokens, all.len() as u64);
    }

    #[test]
    fn building_and_encoding_give_the_same_ids_and_unknown_tokens(text in texts(), options in options()) {
        let Some(built) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let again = Corpus::encode_bytes(text.as_bytes(), built.vocab.clone(), options.max_tokens).unwrap();
        prop_assert_eq!(&again, &built);
        let full = if options.max_tokens == 0 { built.tokens as usize } else { options.max_tokens };
        prop_assert_eq!(built.ids.len(), full.min(built.tokens as usize));
        prop_assert_eq!(built.unknown.count(), built.ids.iter().filter(|&&id| id == UNKNOWN_ID).count());
        for unknown in built.unknown.distinct() {
            prop_assert!(built.vocab.id(&unknown.token).is_none() && unknown.count > 0);
        }
    }

    #[test]
    fn the_pieces_in_which_a_text_arrives_do_not_matter(
        text in texts(), options in options(), lengths in prop::collection::vec(1..5_usize, 1..9)
    ) {
        let Some(whole) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let pieces = InPieces(text.as_bytes(), lengths.iter().cycle());
        prop_assert_eq!(Corpus::from_reader(pieces, "pieces", &options).unwrap(), whole);
    }

    #[test]
    fn text_sizes_match_the_text_and_add_up(text in texts(), options in options(), cut in any::<prop::sample::Index>()) {
        let options = CorpusOptions { max_tokens: 0, ..options };
        let Some(corpus) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        // The expected size comes from a vocabulary with every token of the text, so nothing becomes `<unk>`.
        let complete = Corpus::from_bytes(text.as_bytes(), &CorpusOptions { min_freq: 0, ..options }).unwrap();
        let decoded = complete.vocab.decode(&complete.ids).unwrap();
        let expected = TextSize { characters: decoded.chars().count() as u64, bytes: decoded.len() as u64 };
        let (len, cut) = (corpus.ids.len(), cut.index(corpus.ids.len() + 1));
        prop_assert_eq!((corpus.text, corpus.text_size(0..len)), (expected, expected));
        let mut sum = corpus.text_size(0..cut);
        sum += corpus.text_size(cut..len);
        prop_assert_eq!(sum, expected);
        prop_assert_eq!(corpus.source_bytes, text.len() as u64);
    }

    #[test]
    fn a_prefix_differs_from_a_text_only_in_spaces_at_its_ends(text in texts(), options in options()) {
        let Some(Corpus { vocab, .. }) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let (whole, prefix) = (vocab.encode(&text).ids, vocab.encode_prefix(&text).ids);
        if options.kind == TokenKind::Word || options.normalization != Normalization::Book {
            prop_assert_eq!(prefix, whole);
        } else if options.kind == TokenKind::WordPunct {
            // the extra space can be a part of the first token, which is then another one
            prop_assert!(prefix.len().abs_diff(whole.len()) <= 2, "{prefix:?} {whole:?}");
        } else {
            let fits = |&before: &usize| {
                prefix.get(before..before + whole.len()) == Some(&whole) && prefix.len() - before - whole.len() <= 1
            };
            prop_assert!((0..=1).any(|before| fits(&before)), "{prefix:?} is not {whole:?} with an extra space at its ends");
        }
    }

    #[test]
    fn a_vocabulary_round_trips_through_json(text in texts(), options in options()) {
        let Some(Corpus { vocab, .. }) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        prop_assert_eq!(Vocab::from_json(vocab.to_json().unwrap().as_bytes()).unwrap(), vocab);
    }

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Vocab::from_json(&bytes).is_err());
    }

    #[test]
    fn a_damaged_file_never_causes_a_panic(
        text in texts(), options in options(), at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4)
    ) {
        let Some(Corpus { vocab, .. }) = corpus(text.as_bytes(), &options) else { return Ok(()) };
        let mut json = vocab.to_json().unwrap().into_bytes();
        let at = at.index(json.len());
        json.splice(at..(at + bytes.len()).min(json.len()), bytes);
        if let Ok(damaged) = Vocab::from_json(&json) {
            // A file that is accepted is a valid vocabulary.
            let mut ids = producible_ids(&damaged);
            if damaged.kind() == TokenKind::WordPunct {
                ids.truncate(1); // several tokens can be read as others
            }
            let text = damaged.decode_bytes(&ids).unwrap();
            prop_assert_eq!(damaged.encode_normalized(&text).unwrap().ids, ids);
        }
    }

    #[cfg(feature = "compression")]
    #[test]
    fn a_damaged_compressed_file_never_causes_a_panic(
        text in prop::collection::vec(texts(), 1..30), changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4)
    ) {
        let text = text.concat();
        let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        for mut file in [zstd, gzip.finish().unwrap()] {
            for (at, byte) in &changes {
                let at = at.index(file.len());
                file[at] = *byte;
            }
            let options = CorpusOptions { kind: TokenKind::Byte, normalization: Normalization::None, ..Default::default() };
            let _ = Corpus::read(rnnlm_vocab::Source::from_bytes(&file).with_memory_limit(1 << 30), &options);
        }
    }
}
