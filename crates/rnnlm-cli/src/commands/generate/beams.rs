//! The results of beam searches, one search for each prefix.

use rnnlm_model::beam::{BeamSearch, BeamSettings, Hypothesis};
use rnnlm_model::{Continuation, DecodedToken, LanguageModel, StopConditions};
use rnnlm_rnn::Recurrence;
use rnnlm_vocab::Vocab;

use super::args::GenerateArgs;
use super::output::{GivenPrefix, Score, TextWriter};
use super::settings::Settings;
use crate::failure::{Exit, Failure, Result};
use crate::signals;

/// Searches and writes the results.
pub(super) fn run<B: Recurrence>(
    args: &GenerateArgs,
    vocab: &Vocab,
    prefixes: &[GivenPrefix],
    settings: &Settings,
    model: &LanguageModel<B>,
) -> Result<Exit> {
    let beam = BeamSettings {
        beam_size: args.beam.beam.unwrap_or(1),
        num_results: args.beam.num_results,
        length_penalty: args.beam.length_penalty,
        max_tokens: settings.conditions.max_tokens,
        banned: settings.banned.clone(),
    };
    let mut search = BeamSearch::new(model, beam)?.with_end_token(vocab.end_token());
    let mut writer = TextWriter::new(args, vocab, prefixes, args.beam.num_results);
    let mut num_mismatches = 0;
    for (index, prefix) in prefixes.iter().enumerate() {
        if signals::stop_requested() {
            break;
        }
        let results = search.search(&prefix.prefix.ids, settings.constraint())?;
        for (rank, result) in results.into_iter().enumerate() {
            num_mismatches += usize::from(!result.is_match);
            let score = Score { score: result.score, log_probability: result.log_probability };
            let conditions = StopConditions { max_tokens: usize::MAX, ..StopConditions::default() };
            let mut text = Continuation::new(vocab, prefix.prefix.ids.last().copied(), &conditions);
            push_all(&mut text, &result);
            writer.write((index, rank as u64), &text, Some(score))?;
        }
    }
    writer.finish()?;
    if signals::stop_requested() {
        return Ok(Exit::Interrupted);
    }
    if num_mismatches > 0 {
        let limit = settings.conditions.max_tokens;
        let message = format!("{num_mismatches} texts do not match the regular expression within --num-tokens {limit}");
        return Err(Failure::failed(message).with_hint(format!("use --num-tokens {}", 2 * limit)));
    }
    Ok(Exit::Success)
}

/// Appends the tokens of a result, and ends the text as the search did.
fn push_all(text: &mut Continuation<'_>, result: &Hypothesis) {
    for (&id, &log_probability) in result.ids.iter().zip(&result.log_probabilities) {
        text.push(DecodedToken { log_probability: Some(log_probability), ..DecodedToken::from_id(id) });
    }
    text.set_finish(result.finish);
}
