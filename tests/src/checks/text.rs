//! Properties of tokens and minibatches. No backend computes them; their rows have the backend `cpu` and the path `host`.

use std::collections::BTreeMap;

use rnnlm_vocab::{Batches, Corpus, CorpusOptions, Minibatch, Normalization, Sampling, TokenKind};

use crate::Result;
use crate::check::{Check, Expected, Family, Found};
use crate::compare::{Axis, Quantity};
use crate::perturb::Perturbation;
use crate::tolerance;

/// All properties on fixed inputs.
pub(super) fn checks() -> Vec<Check> {
    let text = "The Time Traveller (for so it will be convenient to speak of him)\r\nwas expounding… ünder\tus.\n\n";
    let mut checks = vec![decoding(text, TokenKind::Char), decoding(text, TokenKind::Byte)];
    for (tokens, batch_size, num_steps) in [(35, 2, 5), (200, 3, 7), (4_000, 32, 35)] {
        for seed in 0..3 {
            checks.push(sequential(tokens, batch_size, num_steps, seed));
            checks.push(random(tokens, batch_size, num_steps, seed));
        }
    }
    checks.extend([Sampling::Sequential, Sampling::Random].map(|sampling| offsets(sampling, 5)));
    checks
}

fn check(subject: &str, shape: String, perturbations: Vec<Perturbation>, expected: Expected, found: Found) -> Check {
    Check {
        family: Family::Properties,
        subject: subject.to_owned(),
        shape,
        backend: "cpu".to_owned(),
        path: "host".to_owned(),
        tolerance: tolerance::EXACT,
        perturbations,
        expected,
        found,
    }
}

/// Encoding inverts decoding, and for byte tokens decoding inverts encoding as well.
pub fn decoding(text: &str, kind: TokenKind) -> Check {
    let text = text.to_owned();
    let read = move || -> Result<Corpus> {
        let normalization = if kind == TokenKind::Byte { Normalization::None } else { Normalization::default() };
        Ok(Corpus::from_bytes(text.as_bytes(), &CorpusOptions { kind, normalization, ..CorpusOptions::default() })?)
    };
    let reread = read.clone();
    let quantities = |corpus: &Corpus, ids: &[u32]| -> Result<Vec<Quantity>> {
        let bytes = corpus.vocab.decode_bytes(ids)?;
        let again = corpus.vocab.encode_normalized(&bytes)?.ids;
        Ok(vec![
            ids_quantity("ids", &again),
            Quantity::new("text", vec![Axis::Column(bytes.len())], bytes.iter().map(|&byte| f64::from(byte)).collect()),
        ])
    };
    let expected: Expected = Box::new(move || {
        let corpus = read()?;
        let spellings = corpus.ids.iter().map(|&id| corpus.vocab.decode_bytes(&[id])).collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<u8> = spellings.concat();
        let text = bytes.iter().map(|&byte| f64::from(byte)).collect();
        Ok(vec![ids_quantity("ids", &corpus.ids), Quantity::new("text", vec![Axis::Column(bytes.len())], text)])
    });
    let found: Found = Box::new(move |perturbation| {
        let corpus = reread()?;
        let mut ids = corpus.ids.clone();
        match perturbation {
            Some(Perturbation::Order) => ids.swap(0, 1),
            Some(_) => ids[0] = ids[0] % (corpus.vocab.len() as u32 - 1) + 1,
            None => {}
        }
        quantities(&corpus, &ids)
    });
    check(
        "decoding and encoding",
        format!("{kind:?}").to_lowercase(),
        vec![Perturbation::Id, Perturbation::Order],
        expected,
        found,
    )
}

fn ids_quantity(name: &str, ids: &[u32]) -> Quantity {
    Quantity::new(name, vec![Axis::Column(ids.len())], ids.iter().map(|&id| f64::from(id)).collect())
}

/// A corpus in which each id is its own index, so that the ids of a minibatch show its position.
fn indices(tokens: usize) -> Vec<u32> {
    (0..tokens as u32).collect()
}

/// [`indices`], or with a changed token after the first one that is used.
fn perturbed(sampling: Sampling, tokens: usize, sizes: Sizes, perturbation: Option<Perturbation>) -> Result<Vec<u32>> {
    let mut corpus = indices(tokens);
    if perturbation == Some(Perturbation::Id) {
        let first = all(&sizes.batches(sampling, &corpus)?, sizes)?[0].inputs[0] as usize;
        corpus[first + 1] = 0;
    }
    Ok(corpus)
}

/// The parameters of minibatches.
#[derive(Clone, Copy)]
struct Sizes {
    batch_size: usize,
    num_steps: usize,
    seed: u64,
}

impl Sizes {
    fn batches(self, sampling: Sampling, corpus: &[u32]) -> Result<Batches<'_>> {
        Ok(Batches::new(sampling, corpus, self.batch_size, self.num_steps, self.seed, 0)?)
    }
}

fn all(batches: &Batches<'_>, Sizes { batch_size, num_steps, .. }: Sizes) -> Result<Vec<Minibatch>> {
    let minibatch = |index| {
        let mut minibatch = Minibatch::new(batch_size, num_steps);
        batches.fill(index, &mut minibatch)?;
        Ok(minibatch)
    };
    (0..batches.num_minibatches()).map(minibatch).collect()
}

/// Sequential minibatches divide the corpus after the offset into N rows, and take T consecutive columns each: the book's
/// `seq_data_iter_sequential`.
pub fn sequential(tokens: usize, batch_size: usize, num_steps: usize, seed: u64) -> Check {
    let shape = format!("{tokens} tokens, T{num_steps} N{batch_size} seed {seed}");
    let sizes = Sizes { batch_size, num_steps, seed };
    let axes = move |count| vec![Axis::Other("minibatch", count), Axis::Step(num_steps), Axis::Row(batch_size)];
    let expected: Expected = Box::new(move || {
        let offset = sizes.batches(Sampling::Sequential, &indices(tokens))?.offset();
        let row_length = (tokens - offset - 1) / batch_size;
        let count = row_length / num_steps;
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for minibatch in 0..count {
            for t in 0..num_steps {
                for row in 0..batch_size {
                    let index = offset + row * row_length + minibatch * num_steps + t;
                    inputs.push(index as f64);
                    targets.push((index + 1) as f64);
                }
            }
        }
        Ok(vec![Quantity::new("inputs", axes(count), inputs), Quantity::new("targets", axes(count), targets)])
    });
    let found: Found = Box::new(move |perturbation| {
        let corpus = perturbed(Sampling::Sequential, tokens, sizes, perturbation)?;
        let batches = sizes.batches(Sampling::Sequential, &corpus)?;
        let mut minibatches = all(&batches, sizes)?;
        if perturbation == Some(Perturbation::Order) {
            minibatches.swap(0, 1);
        }
        let ids = |of: fn(&Minibatch) -> &Vec<u32>| minibatches.iter().flat_map(of).map(|&id| f64::from(id)).collect();
        Ok(vec![
            Quantity::new("inputs", axes(minibatches.len()), ids(|minibatch| &minibatch.inputs)),
            Quantity::new("targets", axes(minibatches.len()), ids(|minibatch| &minibatch.targets)),
        ])
    });
    check("sequential minibatches", shape, vec![Perturbation::Id, Perturbation::Order], expected, found)
}

/// Random minibatches take subsequences of T tokens that start at multiples of T after the offset, each at most once: the
/// book's `seq_data_iter_random`.
pub fn random(tokens: usize, batch_size: usize, num_steps: usize, seed: u64) -> Check {
    let shape = format!("{tokens} tokens, T{num_steps} N{batch_size} seed {seed}");
    let sizes = Sizes { batch_size, num_steps, seed };
    let names = ["minibatches", "rows", "distinct rows", "misaligned rows", "misplaced tokens"];
    let quantities = move |counts: [usize; 5]| {
        let quantity = |(name, count)| Quantity::new(name, vec![Axis::Row(1)], vec![count as f64]);
        names.into_iter().zip(counts).map(quantity).collect()
    };
    let expected: Expected = Box::new(move || {
        let offset = sizes.batches(Sampling::Random, &indices(tokens))?.offset();
        let minibatches = (tokens - offset - 1) / num_steps / batch_size;
        Ok(quantities([minibatches, minibatches * batch_size, minibatches * batch_size, 0, 0]))
    });
    let found: Found = Box::new(move |perturbation| {
        let corpus = perturbed(Sampling::Random, tokens, sizes, perturbation)?;
        let batches = sizes.batches(Sampling::Random, &corpus)?;
        let minibatches = all(&batches, sizes)?;
        let mut starts = BTreeMap::new();
        let mut misplaced = 0;
        for minibatch in &minibatches {
            for row in 0..batch_size {
                let start = minibatch.inputs[row];
                *starts.entry(start).or_insert(0_usize) += 1;
                for t in 0..num_steps {
                    let at = t * batch_size + row;
                    let pair = [minibatch.inputs[at], minibatch.targets[at]];
                    misplaced += usize::from(pair != [start + t as u32, start + t as u32 + 1]);
                }
            }
        }
        let is_misaligned =
            |start: &&u32| (**start as usize).checked_sub(batches.offset()).is_none_or(|s| s % num_steps != 0);
        let misaligned = starts.keys().filter(is_misaligned).count();
        Ok(quantities([minibatches.len(), starts.values().sum(), starts.len(), misaligned, misplaced]))
    });
    check("random minibatches", shape, vec![Perturbation::Id], expected, found)
}

/// Offsets take exactly the values of the book's code: `0..=T` for sequential minibatches, `0..T` for random ones.
pub fn offsets(sampling: Sampling, num_steps: usize) -> Check {
    let quantity = |occurs: Vec<f64>| vec![Quantity::new("offset", vec![Axis::Other("offset", occurs.len())], occurs)];
    let (name, last) = match sampling {
        Sampling::Sequential => ("sequential", num_steps),
        Sampling::Random => ("random", num_steps - 1),
    };
    let expected: Expected =
        Box::new(move || Ok(quantity((0..num_steps + 3).map(|offset| f64::from(u8::from(offset <= last))).collect())));
    let found: Found = Box::new(move |perturbation| {
        let corpus = indices(100);
        let steps = if perturbation.is_some() { num_steps + 1 } else { num_steps };
        let mut occurs = vec![0.0; num_steps + 3];
        for seed in 0..100 * num_steps as u64 {
            occurs[Batches::new(sampling, &corpus, 2, steps, seed, 0)?.offset()] = 1.0;
        }
        Ok(quantity(occurs))
    });
    check(&format!("{name} offsets"), format!("T{num_steps}"), vec![Perturbation::Scalar], expected, found)
}
