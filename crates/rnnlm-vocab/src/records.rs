//! Stage 1, records: whether a text looks like a list of independent records, one a line.

/// The maximum number of lines that are examined.
const MAX_LINES: usize = 500;

/// Fewer lines do not show a pattern.
const MIN_LINES: usize = 10;

/// Number of bytes at the start of a text that are examined.
pub(crate) const SAMPLE_BYTES: usize = 1 << 16;

/// The characters between two fields of a record.
const FIELD_SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// Whether the first lines of a text look like independent records: names, passwords, log lines or a table.
///
/// Of at least 10 lines, at most 1 in 50 is blank, and at most 1 in 20 starts with white space. This excludes
/// paragraphs, stanzas and most source code. Then at least 9 in 10 lines must have one of these properties:
///
/// - They are short: at most 3 words and 40 characters, as in lists.
/// - They have a digit, as in logs.
/// - They have the same number of commas, semicolons, tabs or vertical bars, and at least one, as in tables.
///
/// ```
/// use rnnlm_vocab::looks_like_records;
///
/// assert!(looks_like_records(&"Ada Lovelace\nGrace Hopper\n".repeat(5)));
/// assert!(!looks_like_records(&"It was a dark and stormy night;\nthe rain fell in torrents,\n".repeat(5)));
/// ```
pub fn looks_like_records(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().take(MAX_LINES).collect();
    let num_blank = lines.iter().filter(|line| line.trim().is_empty()).count();
    let num_indented = lines.iter().filter(|line| line.starts_with(char::is_whitespace)).count();
    if lines.len() < MIN_LINES || 50 * num_blank > lines.len() || 20 * num_indented > lines.len() {
        return false;
    }
    let are_most =
        |property: &dyn Fn(&str) -> bool| 10 * lines.iter().filter(|line| property(line)).count() >= 9 * lines.len();
    are_most(&is_short)
        || are_most(&has_digit)
        || FIELD_SEPARATORS.iter().any(|&separator| {
            let count = |line: &str| line.matches(separator).count();
            let median = median(lines.iter().map(|line| count(line)).collect());
            median > 0 && are_most(&|line| count(line) == median)
        })
}

fn is_short(line: &str) -> bool {
    line.chars().nth(40).is_none() && line.split_whitespace().nth(3).is_none()
}

fn has_digit(line: &str) -> bool {
    line.contains(|c: char| c.is_ascii_digit())
}

fn median(mut counts: Vec<usize>) -> usize {
    let middle = counts.len() / 2;
    *counts.select_nth_unstable(middle).1
}
