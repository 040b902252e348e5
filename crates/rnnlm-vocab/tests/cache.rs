//! Token caches: the same ids as in memory, and every damage and every mismatch is an error.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rnnlm_vocab::{
    Batches, CachePass, CacheProgress, Corpus, CorpusOptions, DocumentList, DocumentSet, Documents, Error, IdSource,
    Ids, Normalization, PackedIds, Result, Sampling, Source, TokenCache, TokenKind,
};

struct Silent;

impl CacheProgress for Silent {}

fn options(kind: TokenKind) -> CorpusOptions {
    CorpusOptions { kind, normalization: Normalization::None, ..CorpusOptions::default() }
}

/// A folder with a text, and the path of a cache that does not exist yet.
fn folder(text: &[u8]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("text.txt");
    fs::write(&path, text).expect("a file");
    let target = folder.path().join("cache");
    (folder, path, target)
}

fn build(target: &Path, text: &Path, options: &CorpusOptions) -> Result<TokenCache> {
    TokenCache::build(target, &[text.to_owned()], options, None, u64::MAX, &mut Silent)
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The error as text.
fn error(outcome: Result<TokenCache>) -> String {
    outcome.map(|_| ()).expect_err("it is refused").to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_has_the_corpus_of_the_text(
        lines in prop::collection::vec("[a-cé ]{0,6}", 1..40),
        kind in prop::sample::select(TokenKind::ALL.to_vec()),
        documents in prop::sample::select(Documents::ALL.to_vec()),
        (min_freq, max_vocab, max_tokens) in (0..3_u64, 0..6_usize, 0..60_usize),
        (fraction, seed) in (0.0..0.9_f64, any::<u64>()),
    ) {
        let text = lines.join("\n");
        let options = CorpusOptions { documents, min_freq, max_vocab, ..options(kind) };
        let with_limit = CorpusOptions { max_tokens, ..options.clone() };
        let Ok(mut expected) = Corpus::from_bytes(text.as_bytes(), &with_limit) else { return Ok(()) };
        let (_folder, path, target) = folder(text.as_bytes());
        let cache = build(&target, &path, &options).unwrap();
        let all = Corpus::from_bytes(text.as_bytes(), &options).unwrap();
        let known = |corpus: &Corpus, ids| corpus.text_sizes(ids, 1..all.ids.len()).unwrap()[1];
        prop_assert_eq!(known(&cache.describe(), Ids::stored(&cache)), known(&all, Ids::from(&all.ids)));
        let first = all.text_size(0..1);
        let [size, _] = cache.describe().text_sizes(Ids::stored(&cache), 0..all.ids.len()).unwrap();
        prop_assert_eq!(size, all.text);
        if all.ids[0] != 0 {
            let [size, _] = cache.describe().text_sizes(Ids::stored(&cache), 1..all.ids.len()).unwrap();
            prop_assert_eq!(size, all.text - first);
        }
        let mut loaded = cache.load(max_tokens).unwrap();
        prop_assert_eq!(&loaded.ids, &expected.ids);
        prop_assert_eq!(&loaded.documents, &expected.documents);
        prop_assert_eq!((&loaded.vocab, loaded.text, loaded.tokens), (&expected.vocab, expected.text, expected.tokens));
        prop_assert_eq!((loaded.text_format, loaded.source_bytes), (expected.text_format, expected.source_bytes));
        prop_assert_eq!(loaded.looks_like_records, expected.looks_like_records);
        if documents != Documents::None {
            let split = loaded.split_documents(fraction, seed).ok();
            prop_assert_eq!(split, expected.split_documents(fraction, seed).ok());
            prop_assert_eq!((loaded.ids, loaded.documents), (expected.ids, expected.documents));
        } else if max_tokens == 0 {
            prop_assert_eq!(loaded.unknown.count(), expected.unknown.count());
        }
    }

    #[test]
    fn minibatches_of_stored_documents_are_those_in_memory(
        lines in prop::collection::vec("[a-d]{0,9}", 8..60), (batch_size, num_steps) in (1..4_usize, 1..9_usize),
        (fraction, seed, epoch) in (0.0..0.9_f64, any::<u64>(), 0..9_u64), shuffle in any::<bool>(),
    ) {
        let options = CorpusOptions { documents: Documents::Lines, ..options(TokenKind::Char) };
        let text = lines.join("\n");
        let Ok(mut corpus) = Corpus::from_bytes(text.as_bytes(), &options) else { return Ok(()) };
        let (_folder, path, target) = folder(text.as_bytes());
        let cache = build(&target, &path, &options).unwrap();
        let (index, contents) = cache.documents(0).unwrap();
        let Ok(num_training) = corpus.split_documents(fraction, seed) else { return Ok(()) };
        let lists = DocumentList::split(&index, &contents, fraction, seed).unwrap();
        for (range, list) in [0..num_training, num_training..corpus.documents.len()].into_iter().zip(&lists) {
            let moved = corpus.document_set(range).unwrap();
            let stored = DocumentSet::listed(Ids::stored(&cache), &index, list, moved.end_token());
            prop_assert_eq!((moved.len(), moved.num_tokens()), (stored.len(), stored.num_tokens()));
            let batches = |set| Batches::documents(set, batch_size, num_steps, seed, epoch, shuffle);
            let Ok(expected) = batches(moved) else { continue };
            let mut found = batches(stored).unwrap().into_iter();
            prop_assert!(expected.into_iter().eq(found.by_ref()));
            prop_assert!(found.error().is_none());
        }
    }

    #[test]
    fn minibatches_are_those_of_the_ids_in_memory(
        tokens in 200..5000_usize, vocab_size in prop::sample::select(vec![7_u32, 300, 70_000]),
        (batch_size, num_steps) in (1..5_usize, 1..40_usize), random in any::<bool>(), seed in any::<u64>(),
    ) {
        // one word for each id, so that ids take 1, 2 or 4 bytes
        let words: Vec<String> = (0..vocab_size).chain((0..tokens as u32).map(|n| n * 31 % vocab_size)).map(|n| n.to_string()).collect();
        let (_folder, path, target) = folder(words.join(" ").as_bytes());
        let corpus = Corpus::from_path(&path, &options(TokenKind::Word)).unwrap();
        let cache = build(&target, &path, &options(TokenKind::Word)).unwrap();
        let width = fs::metadata(target.join("tokens-00001.safetensors")).unwrap().len() as usize - 8192;
        let expected = match vocab_size { 7 => 1, 300 => 2, _ => 4 };
        prop_assert_eq!(width, expected * corpus.ids.len());
        let sampling = if random { Sampling::Random } else { Sampling::Sequential };
        for epoch in 0..2 {
            let memory = Batches::new(sampling, &corpus.ids, batch_size, num_steps, seed, epoch).unwrap();
            let mut stored = Batches::new(sampling, Ids::stored(&cache), batch_size, num_steps, seed, epoch).unwrap().into_iter();
            prop_assert!(memory.into_iter().eq(stored.by_ref()));
            prop_assert!(stored.error().is_none());
            let packed = PackedIds::read(Ids::stored(&cache), vocab_size as usize + 1).unwrap();
            let memory = Batches::new(sampling, &corpus.ids, batch_size, num_steps, seed, epoch).unwrap();
            let packed = Batches::new(sampling, Ids::stored(&packed), batch_size, num_steps, seed, epoch).unwrap();
            prop_assert!(memory.into_iter().eq(packed));
        }
    }
}

#[test]
fn a_build_reports_progress_and_size_and_is_complete_or_absent() {
    #[derive(Default)]
    struct Recorder {
        passes: Vec<CachePass>,
        announced: u64,
        refuses: bool,
    }
    impl CacheProgress for Recorder {
        fn progress(&mut self, pass: CachePass, bytes: u64, total: u64) {
            assert!(bytes <= total, "{bytes} of {total}");
            if self.passes.last() != Some(&pass) {
                self.passes.push(pass);
            }
        }
        fn announce(&mut self, folder: &Path, bytes: u64) -> Result<()> {
            self.announced = bytes;
            let path = folder.to_owned();
            if self.refuses { Err(Error::DiskSpace { path, needed: bytes, free: 1 }) } else { Ok(()) }
        }
    }
    let (folder, path, target) = folder(&b"the time traveller\n".repeat(1000));
    let build = |recorder: &mut Recorder| {
        let texts = [path.clone(), path.clone()];
        TokenCache::build(&target, &texts, &options(TokenKind::Char), None, u64::MAX, recorder)
    };
    let mut full = Recorder { refuses: true, ..Recorder::default() };
    assert!(error(build(&mut full)).contains("needs"));
    assert_eq!(entries(folder.path()), ["text.txt"]);
    let mut recorder = Recorder::default();
    let cache = build(&mut recorder).unwrap();
    assert_eq!(recorder.passes, [CachePass::Count, CachePass::Write]);
    assert_eq!(cache.len(), 38_000);
    let json = cache.vocab().to_json().unwrap().len() as u64;
    assert_eq!(recorder.announced, 38_000 + json);
    assert_eq!(entries(folder.path()), ["cache", "text.txt"]);
    assert_eq!(entries(&target), [".rnnlm.lock", "cache.json", "tokens-00001.safetensors", "vocab.json"]);
    // the cache is complete: the text is not read again
    let mut again = Recorder::default();
    assert_eq!(build(&mut again).unwrap().ids_sha256(), cache.ids_sha256());
    assert_eq!((again.passes.len(), again.announced), (0, 0));
    // with a given vocabulary, the text is read once, and the size is estimated; of a short text it is exact
    let (mut given, target) = (Recorder::default(), folder.path().join("given"));
    let texts = std::slice::from_ref(&path);
    let vocab = Some(cache.vocab());
    let with_vocab = TokenCache::build(&target, texts, cache.options(), vocab, u64::MAX, &mut given).unwrap();
    assert_eq!((given.passes.as_slice(), given.announced), (&[CachePass::Write][..], 19_000 + json));
    assert_eq!(with_vocab.load(0).unwrap().ids, cache.load(19_000).unwrap().ids);
    // a second text of 4 MB is read in several segments
    fs::write(&path, b"the time traveller\n".repeat(220_000)).unwrap();
    let mut long = Recorder::default();
    TokenCache::rebuild(&target, texts, cache.options(), vocab, u64::MAX, &mut long).unwrap();
    let exact = 19 * 220_000;
    assert!(long.announced.abs_diff(exact) < exact / 20, "{} instead of {exact}", long.announced);
}

/// The files of a folder with their contents.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    entries(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).expect("a file"))).collect()
}

#[test]
fn the_bytes_of_a_cache_do_not_depend_on_the_number_of_threads() {
    let words: Vec<String> = (0..700_000_u64).map(|n| (n * n % 9973 * (n % 7)).to_string()).collect();
    let text: String = words.chunks(9).map(|line| line.join(" ") + "\n").collect();
    let (folder, path, _) = folder(text.as_bytes());
    for (kind, documents) in [
        (TokenKind::Word, Documents::None),
        (TokenKind::Char, Documents::Lines),
        (TokenKind::WordPunct, Documents::None),
    ] {
        let options = CorpusOptions { documents, ..options(kind) };
        let target = folder.path().join("cache");
        let corpus = Corpus::from_path(&path, &options).unwrap();
        let mut expected = None;
        for num_threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads).build().unwrap();
            let cache = pool.install(|| build(&target, &path, &options)).unwrap();
            let found = contents(&target);
            let expected = expected.get_or_insert_with(|| found.clone());
            for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                assert!(expected == found, "{kind:?} {num_threads} {name}");
            }
            assert!(cache.load(0).unwrap().ids == corpus.ids, "{kind:?}");
            assert_eq!(cache.vocab(), &corpus.vocab);
            drop(cache);
            fs::remove_dir_all(&target).unwrap();
        }
    }
}

#[cfg(feature = "compression")]
#[test]
fn compressed_texts_are_streamed_in_bounded_memory() {
    use std::io::Write;
    let text = b"the time traveller was expounding a recondite matter\n".repeat(100_000); // 5.3 MB
    let (folder, path, target) = folder(&text);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
    let expected = build(&target, &path, &options(TokenKind::Word)).unwrap();
    for (name, bytes) in [("text.txt.gz", gzip.finish().unwrap()), ("text.txt.zst", zstd)] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert!(rnnlm_vocab::is_compressed(&path));
        let texts = [path.clone(), path];
        let target = folder.path().join(format!("cache-{name}"));
        // less than the text, which is not kept
        let memory = 3 << 20;
        let cache = TokenCache::build(&target, &texts, &options(TokenKind::Word), None, memory, &mut Silent).unwrap();
        assert_eq!(cache.len(), 2 * expected.len());
        let ids = cache.load(expected.len()).unwrap().ids;
        assert!(ids == expected.load(0).unwrap().ids);
    }
    assert!(!rnnlm_vocab::is_compressed(&path) && !rnnlm_vocab::is_compressed(folder.path()));
}

#[test]
fn files_in_other_encodings_are_named() {
    let (folder, first, target) = folder("caf\u{e9} noir\n".repeat(100).as_bytes());
    let second = folder.path().join("latin.txt");
    fs::write(&second, b"th\xE9 vert\n".repeat(100)).unwrap();
    let texts = [first, second];
    let build = |options: &CorpusOptions| TokenCache::build(&target, &texts, options, None, u64::MAX, &mut Silent);
    let error = error(build(&options(TokenKind::Char)));
    assert!(error.contains("latin.txt` is not UTF-8: byte 0xE9 at offset 2, line 1"), "{error}");
    assert_eq!(entries(folder.path()), ["latin.txt", "text.txt"]);
}

#[test]
fn a_pipe_is_refused() {
    let (folder, _, target) = folder(b"");
    let pipe = folder.path().join("pipe");
    if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        let error = error(build(&target, &pipe, &options(TokenKind::Char)));
        assert!(error.ends_with("pipe` is a device, expected a file"), "{error}");
    }
}

#[test]
fn an_interrupted_build_starts_again_and_a_second_builder_is_refused() {
    let (folder, path, target) = folder(b"a text");
    let building = folder.path().join(".cache.building");
    fs::create_dir(&building).unwrap();
    fs::write(building.join("tokens-00001.safetensors"), "half").unwrap();
    let lock = fs::File::create(building.join(".rnnlm.lock")).unwrap();
    lock.lock().unwrap();
    assert!(error(build(&target, &path, &options(TokenKind::Char))).ends_with("is being built by another process"));
    assert!(building.join("tokens-00001.safetensors").exists());
    drop(lock);
    assert_eq!(build(&target, &path, &options(TokenKind::Char)).unwrap().len(), 6);
    assert_eq!(entries(folder.path()), ["cache", "text.txt"]);
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(error(build(&other, &path, &options(TokenKind::Char))).ends_with("exists, and is no token cache"));
}

#[test]
fn a_cache_of_another_text_vocabulary_or_tokenization_is_named() {
    let (folder, path, target) = folder(b"a text of words");
    let cache = build(&target, &path, &options(TokenKind::Char)).unwrap();
    let word = error(build(&target, &path, &options(TokenKind::Word)));
    assert!(word.contains("does not fit: it was built with {\"kind\":\"char\""), "{word}");
    let lower = CorpusOptions { normalization: Normalization::Lower, ..options(TokenKind::Char) };
    assert!(error(build(&target, &path, &lower)).contains("\"normalization\":\"none\""));
    let other_path = folder.path().join("other.txt");
    fs::write(&other_path, "another text").unwrap();
    assert!(error(build(&target, &other_path, &options(TokenKind::Char))).contains("it was built from"));
    let vocab = Corpus::from_bytes(b"another text", &options(TokenKind::Char)).unwrap().vocab;
    let with_vocab = TokenCache::build(
        &target,
        std::slice::from_ref(&path),
        &options(TokenKind::Char),
        Some(&vocab),
        u64::MAX,
        &mut Silent,
    );
    assert!(error(with_vocab).contains("its vocabulary is another one: "));
    assert!(cache.check_vocab(cache.vocab()).is_ok() && cache.check_vocab(&vocab).is_err());

    cache.check_texts().unwrap();
    fs::write(&path, "a text of more words").unwrap();
    let changed = cache.check_texts().unwrap_err().to_string();
    assert!(changed.contains("the text has changed: ") && changed.contains("had 15 bytes and has 20 now"), "{changed}");
    assert!(error(build(&target, &path, &options(TokenKind::Char))).contains("the text has changed"));
    let rebuilt = TokenCache::rebuild(
        &target,
        std::slice::from_ref(&path),
        &options(TokenKind::Word),
        Some(&vocab),
        u64::MAX,
        &mut Silent,
    )
    .unwrap();
    assert_eq!(rebuilt.len(), 20);
    assert_eq!(entries(folder.path()), ["cache", "other.txt", "text.txt"]);
    fs::remove_file(&path).unwrap();
    rebuilt.check_texts().unwrap();
}

#[test]
fn every_changed_byte_and_every_cut_is_an_error() {
    let lines = CorpusOptions { documents: Documents::Lines, ..options(TokenKind::Char) };
    let (_folder, path, target) = folder(b"ada\ngrace\nmary\n");
    drop(build(&target, &path, &lines).unwrap());
    let read = || TokenCache::open(&target).and_then(|cache| cache.load(0)).map(|corpus| corpus.ids);
    let expected = read().unwrap();
    for name in ["cache.json", "vocab.json", "documents.safetensors", "tokens-00001.safetensors"] {
        let path = target.join(name);
        let bytes = fs::read(&path).unwrap();
        let step = (bytes.len() / 97).max(1);
        for index in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[index] ^= 4;
            fs::write(&path, &changed).unwrap();
            assert!(matches!(read(), Err(Error::DamagedCache { .. } | Error::Read { .. })), "{name} {index}");
            fs::write(&path, &bytes[..index]).unwrap();
            assert!(matches!(read(), Err(Error::DamagedCache { .. } | Error::Read { .. })), "{name} cut at {index}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read().is_err(), "{name} is missing");
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(read().unwrap(), expected);
}

#[test]
fn a_damaged_block_is_named_when_it_is_read() {
    let text = b"a b c d e f g h i j".repeat(1_000_000); // 19 MB: two blocks
    let (_folder, path, target) = folder(&text);
    let cache = build(&target, &path, &options(TokenKind::Char)).unwrap();
    let mut ids = [0; 40];
    let across = (1 << 24) - 20;
    cache.read(across, &mut ids).unwrap();
    let corpus = Corpus::read(Source::from_bytes(&text), &options(TokenKind::Char)).unwrap();
    assert_eq!(ids[..], corpus.ids[across..across + 40]);
    drop(cache);
    let shard = target.join("tokens-00001.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[8192 + (1 << 24) + 5] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let cache = TokenCache::open(&target).unwrap();
    cache.read(0, &mut ids).unwrap();
    let error = cache.read(across, &mut ids).unwrap_err().to_string();
    assert!(error.contains("tokens-00001.safetensors` is damaged: block 2 of 2 has digest "), "{error}");
    let mut minibatches = Batches::sequential(Ids::stored(&cache), 2, 35, 0, 0).unwrap().into_iter();
    assert!(minibatches.by_ref().count() < 19_000_000 / 70 && minibatches.error().is_some());
    // a file that is cut while it is read
    fs::OpenOptions::new().write(true).open(&shard).unwrap().set_len(8192 + (1 << 24)).unwrap();
    let error = cache.read(across, &mut ids).unwrap_err().to_string();
    assert!(error.contains("it ends within block 2 of 2"), "{error}");
    let error = TokenCache::open(&target).unwrap_err().to_string();
    assert!(error.contains("block 2 of 2 is damaged"), "{error}");
}
