//! Scoring documents: the same bits in every group, and the probabilities that decoding token by token gives.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use rnnlm_model::rnnlm_vocab::{IdSource, Ids};
use rnnlm_model::{
    AdaptiveSoftmax, Cell, Cpu, Error, ExecutionPath, Generator, Init, LanguageModel, ModelConfig, Nonlinearity,
    Scorer, SplitMix64, TokenScore,
};

const VOCAB_SIZE: usize = 9;
const CONTEXT: u32 = 0;
const RNN: Cell = Cell::Rnn(Nonlinearity::Tanh);
const GRU: Cell = Cell::Gru { reset_after: true };

fn model(cell: Cell, num_layers: usize, embedding_size: usize) -> LanguageModel<Cpu> {
    of(ModelConfig { cell, hidden_size: 12, num_layers, embedding_size, ..ModelConfig::book(VOCAB_SIZE) })
}

/// A model with an adaptive softmax, whose last cluster has a single token.
fn adaptive() -> LanguageModel<Cpu> {
    let adaptive_softmax = Some(AdaptiveSoftmax { div_value: 2.0, ..AdaptiveSoftmax::new(vec![3, 5, 8]) });
    of(ModelConfig { cell: Cell::Lstm, hidden_size: 12, adaptive_softmax, ..ModelConfig::book(VOCAB_SIZE) })
}

fn of(config: ModelConfig) -> LanguageModel<Cpu> {
    let mut model = LanguageModel::new(&Cpu::new(2).unwrap(), &config, ExecutionPath::Auto).unwrap();
    model.initialize(Init::Uniform, 5).unwrap();
    model
}

fn models() -> impl Iterator<Item = LanguageModel<Cpu>> {
    let shapes = [(1, 0), (2, 0), (2, 7)];
    [RNN, GRU, Cell::Lstm, Cell::MinGru, Cell::MinLstm]
        .into_iter()
        .flat_map(move |cell| shapes.map(|(l, e)| model(cell, l, e)))
        .chain([adaptive()])
}

/// Documents of these lengths.
fn documents(lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut random = SplitMix64::new(1);
    let mut id = || (random.next_u64() % VOCAB_SIZE as u64) as u32;
    lengths.iter().map(|&length| (0..length).map(|_| id()).collect()).collect()
}

fn scores(scorer: &mut Scorer<'_, Cpu>, documents: &[&[u32]]) -> Vec<Vec<TokenScore>> {
    let mut scores = vec![Vec::new(); documents.len()];
    scorer.score(CONTEXT, documents, &mut |document, score| scores[document].push(score)).unwrap();
    scores
}

/// A store that counts the ids of the longest read.
#[derive(Debug, Default)]
struct Store {
    ids: Vec<u32>,
    longest: AtomicUsize,
}

impl IdSource for Store {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn read(&self, start: usize, out: &mut [u32]) -> rnnlm_model::rnnlm_vocab::Result<()> {
        self.longest.fetch_max(out.len(), Ordering::Relaxed);
        out.copy_from_slice(&self.ids[start..start + out.len()]);
        Ok(())
    }
}

#[test]
fn stored_ids_are_read_as_they_are_needed_and_have_the_scores_of_those_in_memory() {
    let lengths = [1, 40, 7, 0, 3, 3, 3000, 12, 64, 65, 1, 330];
    let documents = documents(&lengths);
    let in_memory: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
    let store = Store { ids: documents.concat(), ..Store::default() };
    let mut start = 0;
    let stored: Vec<Ids<'_>> = lengths
        .iter()
        .map(|length| {
            start += length;
            Ids::stored(&store).slice(start - length..start)
        })
        .collect();
    for model in models() {
        let mut scorer = Scorer::new(&model).unwrap();
        let mut found = vec![Vec::new(); documents.len()];
        scorer.score_ids(CONTEXT, &stored, &mut |document, score| found[document].push(score)).unwrap();
        assert_eq!(found, scores(&mut scorer, &in_memory));
        let evaluate = |ids: Ids<'_>| model.evaluate(ids).unwrap();
        assert_eq!(evaluate(Ids::stored(&store)), evaluate(Ids::from(&store.ids)));
        assert!(matches!(model.evaluate(stored[0]), Err(Error::NothingToScore { tokens: 1 })));
    }
    // the ids of one chunk
    assert_eq!(store.longest.into_inner(), 128);
}

#[test]
fn a_document_has_the_same_bits_alone_and_among_others() {
    let documents = documents(&[1, 40, 7, 0, 3, 3, 190, 12, 64, 65, 1, 33, 128, 20]);
    let documents: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
    for model in models() {
        let mut scorer = Scorer::new(&model).unwrap().with_details();
        let expected: Vec<_> = documents.iter().map(|&document| scores(&mut scorer, &[document]).remove(0)).collect();
        for (document, scores) in documents.iter().zip(&expected) {
            assert_eq!(document.len(), scores.len());
        }
        for batch_size in [1, 2, 3, 64] {
            let mut scorer = Scorer::new(&model).unwrap().with_details().with_batch_size(batch_size);
            assert_eq!(scores(&mut scorer, &documents), expected, "{:?}, {batch_size} documents", model.config());
        }
        let mut plain = Scorer::new(&model).unwrap();
        for (without, with) in scores(&mut plain, &documents).iter().flatten().zip(expected.iter().flatten()) {
            assert_eq!((without.log_probability, without.details), (with.log_probability, None));
        }
    }
}

#[test]
fn scores_are_the_probabilities_of_decoding() {
    let documents = documents(&[30, 17, 1]);
    let documents: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
    for model in models() {
        let mut scorer = Scorer::new(&model).unwrap().with_details();
        for (document, scores) in documents.iter().zip(scores(&mut scorer, &documents)) {
            let mut generator = Generator::new(&model).unwrap();
            let mut previous = CONTEXT;
            for (&id, score) in document.iter().zip(scores) {
                let logits: Vec<f64> = generator.read(previous).unwrap().iter().map(|&logit| logit.into()).collect();
                let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
                let log_probabilities: Vec<f64> = logits.iter().map(|logit| logit - sum.ln()).collect();
                let own = log_probabilities[id as usize];
                // float32 logits of about 1 have an error of about 1e-7, and so has their loss
                assert!((f64::from(score.log_probability) - own).abs() < 1e-6, "{} and {own}", score.log_probability);
                let details = score.details.unwrap();
                let entropy: f64 = log_probabilities.iter().map(|ln| -ln.exp() * ln).sum();
                assert!((details.entropy - entropy).abs() < 1e-9, "{} and {entropy}", details.entropy);
                let before = logits.iter().filter(|&&logit| logit > logits[id as usize]).count();
                assert_eq!(details.rank as usize, before + 1);
                previous = id;
            }
        }
    }
}

#[test]
fn a_sequence_is_scored_like_a_document_after_its_first_token() {
    let model = model(Cell::Lstm, 2, 0);
    let ids = documents(&[300]).remove(0);
    let mut scorer = Scorer::new(&model).unwrap();
    let mut expected = Vec::new();
    scorer.score(ids[0], &[&ids[1..]], &mut |_, score| expected.push(score.log_probability)).unwrap();
    assert_eq!(model.log_probabilities(&ids).unwrap(), expected);
    let evaluation = model.evaluate(&ids).unwrap();
    assert_eq!((evaluation.tokens, evaluation.nats), (299, expected.iter().map(|&ln| -f64::from(ln)).sum()));
    let next = model.next_distribution(&ids[..300 - 1]).unwrap();
    assert!((next.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{next:?}");
    let last = f64::from(expected[298]).exp();
    assert!((next[ids[299] as usize] - last).abs() < 1e-6, "{next:?} and {last}");
}

#[test]
fn any_number_of_documents_is_scored_in_order_until_the_caller_stops() {
    let model = model(GRU, 1, 0);
    let documents = documents(&[50; 2000]);
    let mut scorer = Scorer::new(&model).unwrap();
    let mut seen = 0;
    let emit = |document: &Vec<u32>, scores: Vec<TokenScore>| {
        assert_eq!((document, scores.len()), (&documents[seen], 50));
        seen += 1;
        if seen == 1500 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    scorer.score_all(CONTEXT, &documents, emit).unwrap();
    assert_eq!(seen, 1500);
}

#[test]
fn what_cannot_be_scored_is_an_error() {
    let bidirectional = ModelConfig { bidirectional: true, ..ModelConfig::book(3) };
    let model = LanguageModel::new(&Cpu::new(1).unwrap(), &bidirectional, ExecutionPath::Auto).unwrap();
    assert!(matches!(Scorer::new(&model), Err(Error::BidirectionalScoring)));
    let model = self::model(RNN, 1, 0);
    let mut scorer = Scorer::new(&model).unwrap();
    assert!(scorer.score(CONTEXT, &[&[VOCAB_SIZE as u32]], &mut |_, _| {}).is_err());
    scorer.score(CONTEXT, &[&[], &[]], &mut |_, _| panic!("no token")).unwrap();
    assert!(matches!(model.evaluate(&[1]), Err(Error::NothingToScore { tokens: 1 })));
    assert!(matches!(model.next_distribution(&[]), Err(Error::EmptyPrefix)));
}

#[test]
fn blocks_are_scored_like_texts_of_their_own() {
    let text = documents(&[70]).remove(0);
    for model in models() {
        for block_size in [1, 7, 23, 69, 100] {
            // the text is cut with one token in common, which is only read the second time
            let texts = (0..69).step_by(block_size).map(|start| &text[start..70.min(start + block_size + 1)]);
            let expected: Vec<Vec<f32>> = texts.map(|text| model.log_probabilities(text).unwrap()).collect();
            let mut found = vec![Vec::new(); expected.len()];
            let mut scorer = Scorer::new(&model).unwrap();
            let mut emit = |block: usize, score: TokenScore| found[block].push(score.log_probability);
            scorer.score_blocks(Ids::Memory(&text), block_size, &mut emit).unwrap();
            assert_eq!(found, expected, "{:?}, blocks of {block_size}", model.config());
        }
    }
    let model = model(GRU, 1, 0);
    let error = Scorer::new(&model).unwrap().score_blocks(Ids::Memory(&[1]), 4, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, Error::NothingToScore { tokens: 1 }), "{error}");
}
