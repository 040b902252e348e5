//! Documents: properties that hold for every text.

use std::io::BufReader;

use proptest::prelude::*;
use rnnlm_vocab::{
    Batches, Corpus, CorpusOptions, DocumentList, DocumentReader, DocumentSet, Documents, LineEndConversion, Minibatch,
    Normalization, Source, TextSize, TokenKind, Vocab,
};

/// Difficult texts: end tokens as words, all line ends, blank lines, non-ASCII white space.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        6 => prop::sample::select(vec![
            "<unk>", "<eos>", "<s>", " ", "\n", "\n", "\n\n", "\r\n", "\r", "\t", "a", "b", "B", "the", "é", "\u{a0}",
            "\u{3000}", "\u{feff}", "1", "",
        ])
        .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

fn options() -> impl Strategy<Value = CorpusOptions> {
    let reserved = prop::sample::select(vec![vec![], vec!["<s>".to_owned()]]);
    let documents = prop::sample::select(vec![Documents::Lines, Documents::BlankLines]);
    let token_kinds = prop::sample::select(TokenKind::ALL.to_vec());
    let normalizations = prop::sample::select(Normalization::ALL.to_vec());
    let line_ends = prop::sample::select(LineEndConversion::ALL.to_vec());
    (token_kinds, normalizations, line_ends, documents, 0..3_u64, reserved).prop_map(
        |(kind, normalization, line_ends, documents, min_freq, reserved)| CorpusOptions {
            kind,
            normalization,
            line_ends,
            documents,
            min_freq,
            reserved,
            ..CorpusOptions::default()
        },
    )
}

/// The documents of a text, by the definition.
fn documents(text: &str, options: &CorpusOptions) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = match options.line_ends {
        LineEndConversion::Keep => text.to_owned(),
        LineEndConversion::Lf => text.replace("\r\n", "\n").replace('\r', "\n"),
    };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if options.documents == Documents::Lines {
        return lines.iter().map(|line| line.strip_suffix('\n').unwrap_or(line).to_owned()).collect();
    }
    let groups = lines.split(|line| line.trim().is_empty()).filter(|group| !group.is_empty());
    let document = |group: &[&str]| {
        let text = group.concat();
        text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).to_owned()
    };
    groups.map(document).collect()
}

/// The corpus; `None` for a text without tokens.
fn corpus(text: &str, options: &CorpusOptions) -> Option<Corpus> {
    Corpus::from_bytes(text.as_bytes(), options).ok()
}

/// The documents of a corpus, without their end tokens.
fn contents(corpus: &Corpus) -> Vec<&[u32]> {
    corpus.documents.ranges().map(|range| &corpus.ids[range.start..range.end - 1]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_document_with_tokens_is_followed_by_the_end_token(text in texts(), options in options()) {
        let Some(corpus) = corpus(&text, &options) else { return Ok(()) };
        let end = corpus.vocab.end_token().expect("documents");
        let documents = documents(&text, &options);
        let encoded: Vec<_> = documents.iter().map(|document| corpus.vocab.encode_document(document.as_bytes()).unwrap().ids).collect();
        for ids in &encoded {
            prop_assert_eq!(ids.iter().position(|&id| id == end), Some(ids.len() - 1));
        }
        let (kept, empty): (Vec<_>, Vec<_>) = encoded.into_iter().partition(|ids| ids.len() > 1);
        prop_assert_eq!((kept.concat(), kept.len()), (corpus.ids.clone(), corpus.documents.len()));
        prop_assert_eq!(empty.len() as u64, corpus.empty_documents);
        prop_assert_eq!(corpus.vocab.frequencies()[end as usize], corpus.documents.len() as u64);
        prop_assert_eq!(corpus.vocab.frequencies().iter().sum::<u64>(), corpus.tokens);
    }

    #[test]
    fn a_stream_has_the_documents_of_the_corpus(text in texts(), options in options(), capacity in 1..9_usize) {
        let Some(corpus) = corpus(&text, &options) else { return Ok(()) };
        let stream = BufReader::with_capacity(capacity, text.as_bytes());
        let mut reader = DocumentReader::new(stream, "x", options.documents, options.line_ends);
        let mut ids = Vec::new();
        while let Some(document) = reader.read().unwrap() {
            let encoded = document.encode(&corpus.vocab).unwrap().ids;
            if encoded.len() > 1 {
                ids.extend(encoded);
            }
            let offset = document.offset() as usize;
            prop_assert_eq!(&text.as_bytes()[offset..offset + document.bytes().len()], document.bytes());
            let before = match options.line_ends {
                LineEndConversion::Keep => text[..offset].to_owned(),
                LineEndConversion::Lf => text[..offset].replace("\r\n", "\n").replace('\r', "\n"),
            };
            prop_assert_eq!(before.matches('\n').count() as u64 + 1, document.line());
        }
        prop_assert_eq!(ids, corpus.ids);
    }

    #[test]
    fn pieces_and_a_given_vocabulary_do_not_change_a_corpus(
        text in texts(), options in options(), capacity in 1..9_usize, max_tokens in 0..20_usize
    ) {
        let options = CorpusOptions { max_tokens, ..options };
        let Some(whole) = corpus(&text, &options) else { return Ok(()) };
        let pieces = BufReader::with_capacity(capacity, text.as_bytes());
        prop_assert_eq!(&Corpus::read(Source::from_reader(pieces, "pieces"), &options).unwrap(), &whole);
        let again = Corpus::encode_bytes(text.as_bytes(), whole.vocab.clone(), max_tokens).unwrap();
        prop_assert_eq!(&again, &whole);
        let all = Corpus::from_bytes(text.as_bytes(), &CorpusOptions { max_tokens: 0, ..options }).unwrap();
        prop_assert!(all.ids.starts_with(&whole.ids) && (max_tokens == 0 || whole.ids.len() <= max_tokens));
        prop_assert!(max_tokens == 0 || whole.ids.len() == all.ids.len() || !whole.documents.is_empty());
    }

    #[test]
    fn decoding_restores_the_documents(text in texts(), options in options(), cut in any::<prop::sample::Index>()) {
        let Some(corpus) = corpus(&text, &CorpusOptions { min_freq: 0, ..options.clone() }) else { return Ok(()) };
        let complete = |document: &String| corpus.vocab.encode(document).unknown.count() == 0;
        if !documents(&text, &options).iter().all(complete) {
            return Ok(()); // `<eos>` and `<unk>` as words are not decoded
        }
        let decoded = corpus.vocab.decode(&corpus.ids).unwrap();
        let expected: String = contents(&corpus)
            .iter()
            .map(|ids| corpus.vocab.decode(ids).unwrap() + options.documents.separator())
            .collect();
        prop_assert_eq!(&decoded, &expected);
        let size = |text: &str| TextSize { characters: text.chars().count() as u64, bytes: text.len() as u64 };
        let (len, cut) = (corpus.ids.len(), cut.index(corpus.ids.len() + 1));
        prop_assert_eq!((corpus.text, corpus.text_size(0..len)), (size(&decoded), size(&decoded)));
        let mut sum = corpus.text_size(0..cut);
        sum += corpus.text_size(cut..len);
        prop_assert_eq!(sum, size(&decoded));
        if options.documents == Documents::Lines && matches!(options.kind, TokenKind::Char | TokenKind::Byte) {
            prop_assert_eq!(&corpus.vocab.encode_normalized(decoded.as_bytes()).unwrap().ids, &corpus.ids);
        }
    }

    #[test]
    fn a_vocabulary_with_documents_round_trips_through_json(text in texts(), options in options()) {
        let Some(Corpus { vocab, .. }) = corpus(&text, &options) else { return Ok(()) };
        prop_assert_eq!(&Vocab::from_json(vocab.to_json().unwrap().as_bytes()).unwrap(), &vocab);
        for (id, token) in vocab.tokens().enumerate() {
            prop_assert_eq!(vocab.id(token), Some(id as u32));
        }
    }

    #[test]
    fn a_split_does_not_depend_on_the_order_and_separates_documents(
        text in texts(), options in options(), fraction in 0.01..0.99_f64, seed in any::<u64>()
    ) {
        let options = CorpusOptions { documents: Documents::Lines, ..options };
        // a character that is a byte order mark in the first line only
        let mut lines = documents(&text.replace('\u{feff}', "x"), &options);
        let sets = |lines: &[String]| {
            let mut corpus = corpus(&lines.iter().map(|line| format!("{line}\n")).collect::<String>(), &options)?;
            let before = corpus.clone();
            let num_training = corpus.split_documents(fraction, seed).ok()?;
            assert_eq!(corpus.unknown.count(), before.unknown.count());
            let lists = DocumentList::split(&before.documents, &before.document_contents(), fraction, seed).unwrap();
            let end_token = corpus.vocab.end_token().unwrap();
            let mut listed = Vec::new();
            for list in &lists {
                let set = DocumentSet::listed(&before.ids, &before.documents, list, end_token);
                set.for_each_part(|part| listed.extend_from_slice(part)).unwrap();
            }
            assert_eq!(listed, corpus.ids);
            let decode = |ids: &[u32]| corpus.vocab.decode(ids).unwrap();
            let decoded: Vec<_> = contents(&corpus).into_iter().map(decode).collect();
            let (training, validation) = decoded.split_at(num_training);
            let (mut training, mut validation) = (training.to_vec(), validation.to_vec());
            let mut all: Vec<_> = contents(&before).into_iter().map(|ids| before.vocab.decode(ids).unwrap()).collect();
            training.sort();
            validation.sort();
            all.sort();
            let mut both = [training.clone(), validation.clone()].concat();
            both.sort();
            assert_eq!(both, all);
            Some((training, validation))
        };
        let Some((training, validation)) = sets(&lines) else { return Ok(()) };
        prop_assert!(!training.is_empty() && !validation.is_empty());
        if options.min_freq < 2 && !text.contains("<eos>") {
            prop_assert!(validation.iter().all(|document| !training.contains(document)));
        }
        lines.reverse();
        prop_assert_eq!(sets(&lines), Some((training, validation)));
    }

    #[test]
    fn minibatches_are_rows_of_the_stream(
        lengths in prop::collection::vec(1..8_usize, 1..40), n in 1..5_usize, t in 1..6_usize, seed in any::<u64>(),
        epoch in 0..1_000_u64, shuffle in any::<bool>(), first in any::<prop::sample::Index>()
    ) {
        // word `i` of the text is unique, so ids show documents
        let mut word = 0;
        let mut text = String::new();
        for length in lengths {
            for _ in 0..length {
                text.push_str(&format!("{word} "));
                word += 1;
            }
            text.push('\n');
        }
        let options = CorpusOptions {
            kind: TokenKind::Word, normalization: Normalization::None, documents: Documents::Lines, ..Default::default()
        };
        let corpus = Corpus::from_bytes(text.as_bytes(), &options).unwrap();
        let set = corpus.document_set(first.index(corpus.documents.len())..corpus.documents.len()).unwrap();
        let mut ids = Vec::new();
        set.for_each_part(|part| ids.extend_from_slice(part)).unwrap();
        if ids.len() <= n * t + t {
            prop_assert!(Batches::documents(set, n, t, seed, epoch, shuffle).is_err());
            return Ok(());
        }
        // one row of one step shows the whole stream
        let whole: Vec<Minibatch> = Batches::documents(set, 1, 1, seed, epoch, shuffle).unwrap().into_iter().collect();
        let offset = Batches::documents(set, 1, 1, seed, epoch, shuffle).unwrap().offset();
        prop_assert_eq!((whole.len(), offset), (ids.len(), 0));
        let mut stream: Vec<u32> = whole.iter().map(|minibatch| minibatch.inputs[0]).collect();
        stream.push(whole.last().unwrap().targets[0]);
        if shuffle {
            prop_assert_eq!(stream[0], set.end_token());
            let mut found: Vec<&[u32]> = stream[1..].split_inclusive(|&id| id == set.end_token()).collect();
            let mut expected: Vec<&[u32]> = ids.split_inclusive(|&id| id == set.end_token()).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        } else {
            prop_assert_eq!(&stream, &[&[set.end_token()], &ids[..]].concat());
        }
        let batches = Batches::documents(set, n, t, seed, epoch, shuffle).unwrap();
        let offset = batches.offset();
        let num_minibatches = (stream.len() - 1) / (n * t);
        let left_out = stream.len() - 1 - num_minibatches * n * t;
        let max_offset = if shuffle { 0 } else { left_out };
        prop_assert!(offset <= max_offset);
        prop_assert_eq!(batches.num_minibatches(), num_minibatches);
        let row_length = num_minibatches * t;
        let mut minibatch = Minibatch::new(n, t);
        for index in (0..batches.num_minibatches()).rev() {
            batches.fill(index, &mut minibatch).unwrap();
            for row in 0..n {
                for step in 0..t {
                    let position = offset + row * row_length + index * t + step;
                    prop_assert_eq!(minibatch.inputs[step * n + row], stream[position]);
                    prop_assert_eq!(minibatch.targets[step * n + row], stream[position + 1]);
                }
            }
        }
    }
}

#[test]
fn a_seed_and_an_epoch_give_the_same_order_in_every_version() {
    let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
    let corpus = Corpus::from_bytes(b"a\nbb\nccc\ndddd\nee\nf\n", &options).unwrap();
    let set = corpus.document_set(0..6).unwrap();
    let rows = |seed, epoch, shuffle| {
        let batches = Batches::documents(set, 2, 3, seed, epoch, shuffle).unwrap();
        let row = |minibatch: &Minibatch, row: usize| {
            let ids: Vec<u32> = minibatch.inputs.iter().skip(row).step_by(2).copied().collect();
            corpus.vocab.decode(&ids).unwrap()
        };
        batches.into_iter().map(|minibatch| [row(&minibatch, 0), row(&minibatch, 1)]).collect::<Vec<_>>()
    };
    // Orders computed by a separate Python program, SplitMix64 as published and Fisher–Yates: c b f e a d, a e c b f d
    // and f e c a b d. A stream of 20 tokens has two rows of 9 inputs, the second from its 10th token on.
    assert_eq!(rows(0, 0, true), [["\ncc", "\nee"], ["c\nb", "\na\n"], ["b\nf", "ddd"]]); // "\nccc\nbb\nf\nee\na\ndddd\n"
    assert_eq!(rows(0, 1, true), [["\na\n", "\nbb"], ["ee\n", "\nf\n"], ["ccc", "ddd"]]); // "\na\nee\nccc\nbb\nf\ndddd\n"
    assert_eq!(rows(7, 3, true), [["\nf\n", "\na\n"], ["ee\n", "bb\n"], ["ccc", "ddd"]]); // "\nf\nee\nccc\na\nbb\ndddd\n"
    // The offset is 0 or 1, as 18 of 19 inputs are used, and 1 in this epoch. The rows start at the 2nd and the 11th token of "\na\nbb\nccc\ndddd\nee\nf\n".
    assert_eq!(rows(0, 0, false), [["a\nb", "ddd"], ["b\nc", "d\ne"], ["cc\n", "e\nf"]]);
}

#[test]
fn every_epoch_leaves_out_other_documents() {
    let options = CorpusOptions { documents: Documents::Lines, ..CorpusOptions::default() };
    let text: String = (0..26_u8).map(|letter| format!("{0}{0}{0}\n", char::from(b'a' + letter))).collect();
    let corpus = Corpus::from_bytes(text.as_bytes(), &options).unwrap();
    let set = corpus.document_set(0..26).unwrap();
    for shuffle in [true, false] {
        let left_out = |epoch| {
            let batches = Batches::documents(set, 7, 5, 0, epoch, shuffle).unwrap();
            let targets: Vec<u32> = batches.into_iter().flat_map(|minibatch| minibatch.targets).collect();
            let count = |id: u32| targets.iter().filter(|&&target| target == id).count();
            (1..corpus.vocab.len() as u32).filter(|&id| count(id) < 3).collect::<Vec<_>>()
        };
        // 70 of 104 targets are used, which leaves out 8 or 9 documents
        let epochs: Vec<_> = (0..100).map(left_out).collect();
        assert!(epochs.iter().all(|left_out| left_out.len() >= 8));
        // no token is left out in every epoch
        assert!((1..corpus.vocab.len() as u32).all(|id| epochs.iter().any(|left_out| !left_out.contains(&id))));
    }
}
