//! Whether generated text repeats itself, as the most probable continuation often does.

/// Tokens at the end of a text that are compared.
const WINDOW: usize = 256;
/// A shorter repetition may be meant.
const MIN_REPEATED_TOKENS: usize = 18;
/// Repetitions of a group of tokens that make a loop.
const MIN_REPETITIONS: usize = 3;

/// The end of a generated text.
#[derive(Debug, Default)]
pub(crate) struct Repetition {
    ids: Vec<u32>,
}

impl Repetition {
    /// Adds a token.
    pub(crate) fn push(&mut self, id: u32) {
        if self.ids.len() == 2 * WINDOW {
            self.ids.drain(..WINDOW);
        }
        self.ids.push(id);
    }

    /// Whether the text ends with a group of tokens several times in a row.
    pub(crate) fn is_loop(&self) -> bool {
        let end = &self.ids[self.ids.len().saturating_sub(WINDOW)..];
        (1..=end.len() / MIN_REPETITIONS).any(|period| {
            let repeated = end.iter().rev().zip(end.iter().rev().skip(period)).take_while(|(a, b)| a == b).count();
            repeated + period >= (MIN_REPETITIONS * period).max(MIN_REPEATED_TOKENS)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_loop(text: &str) -> bool {
        let mut repetition = Repetition::default();
        text.bytes().for_each(|byte| repetition.push(byte.into()));
        repetition.is_loop()
    }

    #[test]
    fn a_group_of_tokens_three_times_at_the_end_is_a_loop() {
        assert!(is_loop("time traveller and the the the the the the t"));
        assert!(is_loop("the bourd to the the bourd to the the bourd to the t"));
        assert!(is_loop("aaaaaaaaaaaaaaaaaa") && !is_loop("aaaaaaaaaaaaaaaaa"));
        assert!(is_loop(&"abcdefg ".repeat(200)));
        assert!(!is_loop("the keeper of the lamp went down to the shore and waited for the tide to turn"));
        assert!(!is_loop("the the the the the the the the lamp went down"));
        assert!(!is_loop("ha ha ha") && !is_loop(""));
    }
}
