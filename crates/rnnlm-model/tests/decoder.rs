//! Decoding many texts as one batch gives each of them the bits that it has alone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use rnnlm_model::sampler::{Chain, ChainSettings};
use rnnlm_model::{
    Cell, Cpu, DecodedToken, Decoder, Error, ExecutionPath, Generator, Init, LanguageModel, ModelConfig, Nonlinearity,
    Request, Sampler, SplitMix64,
};

const VOCAB_SIZE: usize = 11;
const END: u32 = 4;

fn model(cell: Cell, num_layers: usize, threads: usize, scale: f32) -> LanguageModel<Cpu> {
    let config = ModelConfig { cell, hidden_size: 20, num_layers, ..ModelConfig::book(VOCAB_SIZE) };
    let mut model = LanguageModel::new(&Cpu::new(threads).unwrap(), &config, ExecutionPath::Auto).unwrap();
    model.initialize(Init::Normal, 3).unwrap();
    // larger weights, so that the tokens before make a difference
    let values: Vec<f32> = model.parameters().to_vec(model.backend()).unwrap().iter().map(|x| scale * x).collect();
    let backend = model.backend().clone();
    model.parameters_mut().write(&backend, &values).unwrap();
    model
}

fn models(threads: usize) -> impl Iterator<Item = LanguageModel<Cpu>> {
    let cells =
        [Cell::Rnn(Nonlinearity::Tanh), Cell::Gru { reset_after: true }, Cell::Lstm, Cell::MinGru, Cell::MinLstm];
    cells.into_iter().flat_map(move |cell| [1, 2].map(|num_layers| model(cell, num_layers, threads, 20.0)))
}

/// The prefix of text `index`, and its number of tokens.
fn text(index: u64) -> (Vec<u32>, usize) {
    let mut random = SplitMix64::new(index);
    let mut below = |bound: u64| random.next_u64() % bound;
    let length = 1 + below(6) as usize;
    let prefix = (0..length).map(|_| below(VOCAB_SIZE as u64) as u32).collect();
    (prefix, 1 + below(30) as usize)
}

fn sampler(index: u64) -> Sampler {
    let settings = ChainSettings {
        temperature: 0.9,
        frequency_penalty: 0.1,
        top_p: if index.is_multiple_of(2) { 1.0 } else { 0.9 },
        ..ChainSettings::default()
    };
    Sampler::from_chain(Chain::from_settings(&settings).unwrap(), SplitMix64::of_sample(7, 0, index)).without(Some(0))
}

/// The tokens of each text, in a decoder of `slots` slots that takes the texts in this order.
fn decode(model: &LanguageModel<Cpu>, slots: usize, order: &[u64]) -> BTreeMap<u64, Vec<DecodedToken>> {
    let mut decoder = Decoder::new(model, slots).unwrap().with_end_token(Some(END));
    let mut waiting = order.iter().copied();
    let mut active = BTreeMap::new();
    let mut decoded: BTreeMap<u64, Vec<DecodedToken>> = BTreeMap::new();
    loop {
        while decoder.has_free_slot() {
            let Some(index) = waiting.next() else { break };
            let request = Request { prefix: text(index).0, sampler: sampler(index), logprobs: Some(3) };
            active.insert(decoder.admit(request).unwrap(), index);
        }
        if decoder.num_active() == 0 {
            return decoded;
        }
        for (slot, token) in decoder.step().unwrap() {
            let index = active[&slot];
            let tokens = decoded.entry(index).or_default();
            tokens.push(token);
            if tokens.len() == text(index).1 {
                assert!(decoder.release(slot).unwrap());
                assert!(!decoder.release(slot).unwrap());
                active.remove(&slot);
            }
        }
    }
}

#[test]
fn a_text_has_the_same_bits_in_every_batch_order_and_number_of_threads() {
    let order: Vec<u64> = (0..40).collect();
    let reversed: Vec<u64> = order.iter().rev().copied().collect();
    for (alone, others) in models(1).zip(models(2)) {
        let expected: BTreeMap<_, _> = order.iter().flat_map(|&index| decode(&alone, 1, &[index])).collect();
        assert_eq!(expected.len(), 40);
        for slots in [1, 2, 3, 7, 33, 64] {
            assert_eq!(decode(&others, slots, &order), expected, "{slots} slots");
        }
        assert_eq!(decode(&others, 5, &reversed), expected);
        let generated: usize = expected.values().flatten().filter(|token| token.id == END).count();
        assert!(generated > 20, "only {generated} end tokens test the reset of a row");
    }
}

#[test]
fn a_decoder_gives_the_tokens_of_the_generator() {
    for model in models(2) {
        let decoded = decode(&model, 4, &[0, 1, 2, 3, 4, 5]);
        for (index, tokens) in decoded {
            let (prefix, num_tokens) = text(index);
            let mut ids = Vec::new();
            let mut generator = Generator::new(&model).unwrap().with_end_token(Some(END));
            let mut emit = |id| {
                ids.push(id);
                true
            };
            generator.generate(&prefix, num_tokens, &mut sampler(index), &mut emit).unwrap();
            assert_eq!(tokens.iter().map(|token| token.id).collect::<Vec<_>>(), ids);
        }
    }
}

#[test]
fn log_probabilities_are_those_of_the_model() {
    let model = model(Cell::Lstm, 1, 1, 20.0);
    let (prefix, _) = text(3);
    let tokens = decode(&model, 2, &[3, 1]).remove(&3).unwrap();
    let mut ids = prefix;
    for token in tokens.iter().take_while(|token| token.id != END) {
        let expected = model.next_distribution(&ids[document_start(&ids)..]).unwrap();
        let found = token.log_probability.unwrap();
        assert!((found - expected[token.id as usize].ln()).abs() < 1e-9, "{found}");
        let mut order: Vec<u32> = (0..VOCAB_SIZE as u32).collect();
        order.sort_by(|&a, &b| expected[b as usize].total_cmp(&expected[a as usize]));
        assert_eq!(token.alternatives.iter().map(|(id, _)| *id).collect::<Vec<_>>(), order[..3]);
        ids.push(token.id);
    }
}

/// The index of the last end token, which starts a document from the zero state.
fn document_start(ids: &[u32]) -> usize {
    ids.iter().rposition(|&id| id == END).unwrap_or(0)
}

#[test]
fn invalid_requests_are_errors_that_leave_the_others_alone() {
    let model = model(Cell::Lstm, 1, 1, 20.0);
    let mut decoder = Decoder::new(&model, 1).unwrap();
    let request = |prefix: &[u32]| Request { prefix: prefix.to_vec(), sampler: Sampler::greedy(), logprobs: None };
    assert!(matches!(decoder.admit(request(&[])), Err(Error::EmptyPrefix)));
    assert!(decoder.admit(request(&[1, 11])).unwrap_err().to_string().contains("11"));
    let slot = decoder.admit(request(&[1])).unwrap();
    assert!(matches!(decoder.admit(request(&[1])), Err(Error::NoFreeSlot { slots: 1 })));
    assert_eq!(decoder.step().unwrap()[0].0, slot);
    let bidirectional = ModelConfig { bidirectional: true, ..ModelConfig::book(VOCAB_SIZE) };
    let model = LanguageModel::new(&Cpu::new(1).unwrap(), &bidirectional, ExecutionPath::Auto).unwrap();
    assert!(matches!(Decoder::new(&model, 1), Err(Error::BidirectionalGeneration)));
}

#[test]
fn penalties_forget_the_document_before_an_end_token() {
    let model = model(Cell::Gru { reset_after: true }, 1, 1, 100.0);
    let ids = |prefix: &[u32]| {
        let settings = ChainSettings { repetition_penalty: 5.0, ..ChainSettings::default() };
        let mut sampler = Sampler::from_chain(Chain::from_settings(&settings).unwrap(), SplitMix64::new(1));
        let mut ids = Vec::new();
        let mut generator = Generator::new(&model).unwrap().with_end_token(Some(END));
        let mut emit = |id| {
            ids.push(id);
            true
        };
        generator.generate(prefix, 30, &mut sampler, &mut emit).unwrap();
        ids
    };
    assert_eq!(ids(&[5, 6, 7, END, 2]), ids(&[END, 2]));
    assert_ne!(ids(&[5, 6, 7, 2]), ids(&[2]));
}
