//! `rnnlm generate`: a trained model goes on from a prefix, token by token as they come.

use std::io::{Write, stdout};

use rnnlm_model::{Generator, Run, Sampler};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::{TokenKind, Vocab};
use serde_json::json;

use crate::args::{Format, GenerateArgs, Unknown};
use crate::device::{self, Work};
use crate::failure::{Exit, Failure, Result};
use crate::progress::error_line;
use crate::signals;

pub(crate) fn run(args: &GenerateArgs) -> Result<Exit> {
    let run = Run::open(&args.run)?;
    let sampler = Sampler::new(args.temperature, args.seed)?;
    let prefix = encode(args, run.vocab())?;
    signals::listen()?;
    device::run(&args.compute, true, Continuation { args, run, prefix, sampler })
}

/// A prefix that is to be gone on from.
struct Continuation<'a> {
    args: &'a GenerateArgs,
    run: Run,
    prefix: Vec<u32>,
    sampler: Sampler,
}

impl Work for Continuation<'_> {
    fn on<B: Recurrence>(self, backend: &B) -> Result<Exit> {
        let Self { args, run, prefix, mut sampler } = self;
        let model = device::load(&run, args.best, backend, &args.compute)?;
        let generator = Generator::new(&model)?;
        match args.format {
            Format::Text => stream(generator, &prefix, args, run.vocab(), &mut sampler),
            Format::Json => collect(generator, &prefix, args, run.vocab(), &mut sampler),
        }?;
        Ok(if signals::stop_requested() { Exit::Interrupted } else { Exit::Success })
    }
}

/// The ids of the prefix; an empty one starts from the commonest token.
fn encode(args: &GenerateArgs, vocab: &Vocab) -> Result<Vec<u32>> {
    let encoding = vocab.encode_prefix(&args.prefix);
    let mut ids = encoding.ids;
    if encoding.unknown.count() > 0 {
        let names: Vec<String> = encoding.unknown.distinct().iter().map(|token| format!("{:?}", token.token)).collect();
        let names = names.join(" ");
        match args.unknown {
            Unknown::Unk => error_line(&format!("warning: the prefix has tokens that are read as <unk>: {names}")),
            Unknown::Skip => {
                error_line(&format!("warning: the prefix has unknown tokens that are left out: {names}"));
                ids.retain(|&id| id != rnnlm_vocab::UNKNOWN_ID);
            }
            Unknown::Error => {
                let message = format!("the prefix has tokens that the vocabulary does not know: {names}");
                return Err(Failure::new(message, "--unknown unk reads them as <unk>, --unknown skip leaves them out"));
            }
        }
    }
    if ids.is_empty() {
        ids.push(vocab.most_frequent_id());
    }
    Ok(ids)
}

/// Writes each token as soon as it is chosen; whoever closes the pipe ends it.
fn stream<B: Recurrence>(
    mut generator: Generator<'_, B>,
    prefix: &[u32],
    args: &GenerateArgs,
    vocab: &Vocab,
    sampler: &mut Sampler,
) -> Result<()> {
    let mut out = stdout();
    let mut outcome = out.write_all(&vocab.decode_bytes(prefix)?).and_then(|()| out.flush());
    let separator = if vocab.kind() == TokenKind::Word { " " } else { "" };
    let mut emit = |id: u32| {
        let token = vocab.decode_bytes(&[id]).unwrap_or_default();
        outcome = out.write_all(separator.as_bytes()).and_then(|()| out.write_all(&token)).and_then(|()| out.flush());
        outcome.is_ok() && !signals::stop_requested()
    };
    generator.generate(prefix, args.num_tokens, sampler, &mut emit)?;
    outcome.and_then(|()| stdout().write_all(b"\n")).map_err(Failure::Stream)
}

/// One object with prefix and continuation.
fn collect<B: Recurrence>(
    mut generator: Generator<'_, B>,
    prefix: &[u32],
    args: &GenerateArgs,
    vocab: &Vocab,
    sampler: &mut Sampler,
) -> Result<()> {
    let mut ids = prefix.to_vec();
    generator.generate(prefix, args.num_tokens, sampler, &mut |id| {
        ids.push(id);
        !signals::stop_requested()
    })?;
    let object = json!({
        "prefix": args.prefix,
        "text": vocab.decode(&ids)?,
        "num_tokens": ids.len() - prefix.len(),
        "temperature": args.temperature,
        "seed": args.seed,
    });
    writeln!(stdout(), "{object}").map_err(Failure::Stream)
}
