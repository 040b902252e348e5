//! The settings of a generation, checked against each other and against the run.

use std::sync::Arc;

use rnnlm_model::sampler::{Chain, ChainSettings, FilterName};
use rnnlm_model::{Sampler, SplitMix64, StopConditions, TokenRegex};
use rnnlm_vocab::Vocab;

use super::args::{Format, GenerateArgs};
use crate::failure::{Failure, Result};
use crate::prefix::PrefixText;

/// The default limit of tokens of a stream, and of a document.
const NUM_TOKENS: [usize; 2] = [50, 1000];

/// How texts are generated.
#[derive(Debug)]
pub(super) struct Settings {
    chain: Arc<Chain>,
    seed: u64,
    /// `<unk>`, unless it is allowed.
    excluded: Option<u32>,
    regex: Option<Arc<TokenRegex>>,
    pub(super) conditions: StopConditions,
    /// The tokens that are never generated.
    pub(super) banned: Vec<u32>,
    /// The alternatives that are reported; `None` without log-probabilities.
    pub(super) logprobs: Option<usize>,
}

impl Settings {
    /// The settings of the command line for a run with this vocabulary.
    ///
    /// # Errors
    /// If settings contradict each other or do not fit the vocabulary.
    pub(super) fn new(args: &GenerateArgs, vocab: &Vocab) -> Result<Self> {
        check_sampling(args)?;
        check_beam(args)?;
        check_ends(args, vocab)?;
        if let (Format::Text, Some(k)) = (args.format, args.logprobs) {
            let failure = Failure::usage(format!("--logprobs {k} needs JSON, and --format is text"));
            return Err(failure.with_hint("add --format json or --format jsonl"));
        }
        let chain = chain_settings(args, vocab)?;
        let excluded = vocab.unknown_id().filter(|_| !args.filters.allow_unknown);
        let banned = [&chain.banned[..], excluded.as_slice()].concat();
        let regex = args.ends.regex.as_ref().map(|regex| TokenRegex::new(regex, vocab, &banned)).transpose()?;
        let is_document = vocab.end_token().is_some();
        let stop = args.ends.stop.iter().map(|stop| stop.bytes().to_vec()).collect();
        let end_token = vocab.end_token().filter(|_| !args.ends.across_documents);
        let max_tokens = args.num_tokens.unwrap_or(NUM_TOKENS[usize::from(is_document)]);
        Ok(Self {
            chain: Arc::new(Chain::from_settings(&chain)?),
            seed: args.seed.value,
            excluded,
            regex: regex.map(Arc::new),
            conditions: StopConditions { stop, end_token, max_tokens },
            banned,
            logprobs: (args.format != Format::Text).then_some(args.logprobs.unwrap_or(0)),
        })
    }

    /// The sampler of one sample of a prefix.
    pub(super) fn sampler(&self, prefix: usize, sample: u64) -> Sampler {
        let rng = SplitMix64::of_sample(self.seed, prefix as u64, sample);
        Sampler::from_chain(self.chain.clone(), rng).without(self.excluded).with_constraint(self.constraint())
    }

    /// The fewest tokens of a text that matches the regular expression.
    pub(super) fn min_tokens(&self) -> usize {
        self.regex.as_ref().map_or(0, |regex| regex.min_tokens())
    }

    /// The constraint of a text, before its first token.
    pub(super) fn constraint(&self) -> Option<rnnlm_model::Constraint> {
        self.regex.as_ref().map(|regex| regex.constraint(self.conditions.max_tokens))
    }
}

/// The filters of the command line.
fn chain_settings(args: &GenerateArgs, vocab: &Vocab) -> Result<ChainSettings> {
    let filters = &args.filters;
    let mut settings = ChainSettings {
        temperature: args.temperature,
        repetition_penalty: filters.repetition_penalty,
        presence_penalty: filters.presence_penalty,
        frequency_penalty: filters.frequency_penalty,
        top_k: filters.top_k,
        top_p: filters.top_p,
        min_p: filters.min_p,
        typical: filters.typical,
        ..ChainSettings::default()
    };
    for bias in &filters.biases {
        let flag = format!("--logit-bias {}={}", bias.token, bias.bias);
        settings.logit_bias.push((find_token(vocab, &bias.token, &flag)?, bias.bias));
    }
    for token in &filters.bans {
        settings.banned.push(find_token(vocab, token, &format!("--ban {token}"))?);
    }
    if let Some(names) = &filters.samplers {
        settings.order = names.iter().flat_map(|names| names.0.iter().copied()).collect();
        check_order(args, &settings)?;
    }
    Ok(settings)
}

/// The id of a token, by its text or by its name in `vocab.json`.
fn find_token(vocab: &Vocab, token: &PrefixText, flag: &str) -> Result<u32> {
    let bytes = token.bytes();
    let is_named = |&id: &u32| vocab.token(id).is_some_and(|name| name.as_bytes() == bytes);
    let has_text = |&id: &u32| vocab.decode_bytes(&[id]).is_ok_and(|text| text == bytes);
    let ids = 0..vocab.len() as u32;
    ids.clone().find(has_text).or_else(|| ids.clone().find(is_named)).ok_or_else(|| {
        let message = format!("{flag}: the vocabulary of {} `{}` tokens has no `{token}`", vocab.len(), vocab.kind());
        Failure::usage(message).with_hint("vocab.json of the run lists the tokens")
    })
}

/// The text of a flag with the value of a filter, such as `--top-k 5`.
fn flag(args: &GenerateArgs, name: FilterName) -> String {
    let filters = &args.filters;
    let value = match name {
        FilterName::RepetitionPenalty => filters.repetition_penalty.to_string(),
        FilterName::PresencePenalty => filters.presence_penalty.to_string(),
        FilterName::FrequencyPenalty => filters.frequency_penalty.to_string(),
        FilterName::Temperature => args.temperature.to_string(),
        FilterName::TopK => filters.top_k.to_string(),
        FilterName::TopP => filters.top_p.to_string(),
        FilterName::MinP => filters.min_p.to_string(),
        FilterName::Typical => filters.typical.to_string(),
    };
    format!("--{name} {value}")
}

/// An error if `--samplers` repeats a filter, or leaves out one that is set.
fn check_order(args: &GenerateArgs, settings: &ChainSettings) -> Result<()> {
    let names = settings.order.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
    for (index, name) in settings.order.iter().enumerate() {
        if settings.order[..index].contains(name) {
            return Err(Failure::usage(format!("--samplers {names} has {name} twice")).with_hint("name it once"));
        }
    }
    let is_left_out = |name: &FilterName| settings.is_set(*name) && !settings.order.contains(name);
    match FilterName::DEFAULT_ORDER.into_iter().find(is_left_out) {
        None => Ok(()),
        Some(name) => {
            let failure = Failure::usage(format!("--samplers {names} leaves out {}", flag(args, name)));
            Err(failure.with_hint(format!("add {name} to --samplers, or leave out --{name}")))
        }
    }
}

/// The filters that select tokens and are set.
fn truncations(args: &GenerateArgs) -> impl Iterator<Item = String> {
    let filters = &args.filters;
    let set = [
        (FilterName::TopK, filters.top_k != 0),
        (FilterName::TopP, filters.top_p != 1.0),
        (FilterName::MinP, filters.min_p != 0.0),
        (FilterName::Typical, filters.typical != 1.0),
    ];
    set.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| flag(args, name))
}

/// What needs randomness is refused at temperature 0.
fn check_sampling(args: &GenerateArgs) -> Result<()> {
    if args.temperature != 0.0 || args.beam.beam.is_some() {
        return Ok(());
    }
    let samples = (args.num_samples > 1).then(|| format!("--num-samples {}", args.num_samples));
    let unique = args.ends.unique.then(|| "--unique".to_owned());
    let not_in = args.ends.not_in.as_ref().map(|path| format!("--not-in {}", path.display()));
    let redraws = [samples, unique, not_in].into_iter().flatten();
    let reason = "which always takes the most probable token";
    match redraws.chain(truncations(args)).next() {
        None => Ok(()),
        Some(flag) => Err(Failure::usage(format!("{flag} has no effect at --temperature 0, {reason}"))
            .with_hint("add --temperature 1, which samples from the model's distribution")),
    }
}

/// What a beam search does not use is refused.
fn check_beam(args: &GenerateArgs) -> Result<()> {
    let Some(beam) = args.beam.beam else { return Ok(()) };
    let (filters, ends) = (&args.filters, &args.ends);
    let penalties = [
        (FilterName::Temperature, args.temperature != 0.0),
        (FilterName::RepetitionPenalty, filters.repetition_penalty != 1.0),
        (FilterName::PresencePenalty, filters.presence_penalty != 0.0),
        (FilterName::FrequencyPenalty, filters.frequency_penalty != 0.0),
    ];
    let penalties = penalties.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| flag(args, name));
    let others = [
        (args.num_samples > 1).then(|| format!("--num-samples {}", args.num_samples)),
        filters.biases.first().map(|bias| format!("--logit-bias {}={}", bias.token, bias.bias)),
        filters.samplers.as_ref().map(|_| "--samplers".to_owned()),
        ends.stop.first().map(|stop| format!("--stop \"{stop}\"")),
        ends.across_documents.then(|| "--across-documents".to_owned()),
        ends.not_in.as_ref().map(|path| format!("--not-in {}", path.display())),
        ends.unique.then(|| "--unique".to_owned()),
        args.logprobs.map(|k| format!("--logprobs {k}")),
    ];
    let hint = if args.num_samples > 1 { "--num-results N prints several texts" } else { "leave out one of them" };
    if let Some(flag) = penalties.chain(truncations(args)).chain(others.into_iter().flatten()).next() {
        let message = format!("--beam {beam} and {flag} cannot be used together: a beam search does not sample");
        return Err(Failure::usage(message).with_hint(hint));
    }
    if args.beam.num_results > beam {
        let message = format!("--num-results {} exceeds --beam {beam}", args.beam.num_results);
        return Err(Failure::usage(message).with_hint(format!("use --beam {}", args.beam.num_results)));
    }
    Ok(())
}

/// What the run has not, or a regular expression excludes, is refused.
fn check_ends(args: &GenerateArgs, vocab: &Vocab) -> Result<()> {
    let ends = &args.ends;
    let flag = match (ends.until_document_end, ends.across_documents) {
        (true, _) => Some("--until-document-end"),
        (_, true) => Some("--across-documents"),
        _ => None,
    };
    if let (Some(flag), None) = (flag, vocab.end_token()) {
        let message = format!("{flag} needs a run on documents, and this one was trained with --documents none");
        let hint = "train with --documents lines, or end the text with --stop '\\n'";
        return Err(Failure::usage(message).with_hint(hint));
    }
    let Some(regex) = &ends.regex else { return Ok(()) };
    let excluded = match ends.stop.first() {
        Some(stop) => Some(format!("--stop \"{stop}\"")),
        None => ends.across_documents.then(|| "--across-documents".to_owned()),
    };
    match excluded {
        None => Ok(()),
        Some(flag) => {
            let message = format!("--regex {regex} and {flag} cannot be used together: the expression ends the text");
            Err(Failure::usage(message).with_hint("leave out one of them"))
        }
    }
}
