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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_logs_and_tables_are_records() {
        let names = ["Ada Lovelace", "Grace Hopper", "Jean E. Sammet", "Mary"];
        let passwords = ["hunter2", "correct horse", "pa$$,word;", "qwerty!", "letmein", "Tr0ub4dor&3"];
        let log = [
            "081109 203518 148 INFO dfs.DataNode: Receiving block blk_-160899 src: /10.250.19.102:54106 dest: /10.250.19.102",
            "081109 203519 29 INFO dfs.FSNamesystem: BLOCK* NameSystem.allocateBlock: blk_1608999687919862906 of 3 nodes",
            "081109 203521 19 WARN dfs.FSDataset: Unexpected error trying to delete block; BlockInfo not found",
        ];
        let table = [
            "name,city,country of birth",
            "Ada Lovelace,London,United Kingdom of Great Britain and Ireland",
            "Grace Brewster Murray Hopper,New York City,United States of America",
        ];
        let pairs = ["the cat sat on the mat\tdie Katze saß auf der Matte", "it rains\tes regnet heute schon wieder"];
        for lines in [&names[..], &passwords, &log, &table, &pairs] {
            let text = format!("{}\n", lines.join("\n")).repeat(10);
            assert!(looks_like_records(&text), "{text}");
            assert!(looks_like_records(&text.replace('\n', "\r\n")));
            assert!(!looks_like_records(lines[0]), "one line shows no pattern");
        }
    }

    #[test]
    fn prose_poems_plays_and_source_code_are_not_records() {
        let prose = "The Time Traveller (for so it will be convenient to speak of him)\nwas expounding a recondite matter \
            to us. His pale grey eyes shone and\ntwinkled, and his usually pale face was flushed and animated.\nThe fire \
            burnt brightly, and the soft radiance of the incandescent\nlights in the lilies of silver caught the bubbles \
            that flashed and\npassed in our glasses.\n";
        let poem = "Of Man's first disobedience, and the fruit\nOf that forbidden tree whose mortal taste\nBrought death \
            into the World, and all our woe,\nWith loss of Eden, till one greater Man\nRestore us, and regain the \
            blissful seat,\n";
        let short_poem = "I'm nobody!\nWho are you?\nAre you nobody, too?\n\n";
        let play = "First Citizen:\nYou are all resolved.\n\nAll:\nResolved. resolved.\n\n";
        let code = "fn main() {\n    let x = 1;\n    print(x);\n}\n";
        let json = "{\n  \"a\": 1,\n  \"b\": 2\n}\n";
        let chinese =
            "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈\n";
        for text in [prose, poem, short_poem, play, code, json, chinese] {
            assert!(!looks_like_records(&text.repeat(10)), "{text}");
        }
        assert!(!looks_like_records(""));
    }

    #[test]
    fn only_the_start_of_a_text_is_examined() {
        let names = "Ada\nGrace\n".repeat(MAX_LINES);
        assert!(looks_like_records(&format!("{names}{}", "and so it was that she, at last, had it\n".repeat(100_000))));
    }
}
