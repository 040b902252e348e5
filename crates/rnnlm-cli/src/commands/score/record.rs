//! The forms of the input: which part of a line is the text to score.

use std::ops::Range;

use clap::ValueEnum;

/// The value of `--nbest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum NbestList {
    /// Lines `ID WORDS…` become `ID COST`, where the cost is −ln p. Lists of ESPnet have the same form.
    Kaldi,
    /// Lines `ID ||| HYPOTHESIS ||| FEATURES ||| TOTAL` get the feature `RNNLM0= LN_P`; all else stays.
    Moses,
    /// Lines `ID<TAB>HYPOTHESIS<TAB>…` get the log-probability as last column.
    Tsv,
}

/// The form of a document in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The document is the text.
    Plain,
    /// One line of an n-best list.
    Nbest(NbestList),
}

/// The parts of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// The text to score.
    pub(super) text: Range<usize>,
    /// Where the result is inserted in the document; the end of the id for Kaldi.
    pub(super) insert: usize,
}

impl Form {
    /// Finds the parts of a document, or returns what is missing.
    pub(super) fn split(self, document: &[u8]) -> Result<Fields, &'static str> {
        match self {
            Self::Plain => Ok(Fields { text: 0..document.len(), insert: document.len() }),
            Self::Nbest(NbestList::Kaldi) => split_kaldi(document),
            Self::Nbest(NbestList::Moses) => split_moses(document),
            Self::Nbest(NbestList::Tsv) => split_tsv(document),
        }
    }
}

fn split_kaldi(line: &[u8]) -> Result<Fields, &'static str> {
    let id_end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    if id_end == 0 {
        return Err("it does not start with an utterance id");
    }
    Ok(Fields { text: trimmed(line, id_end..line.len()), insert: id_end })
}

fn split_moses(line: &[u8]) -> Result<Fields, &'static str> {
    const SEPARATOR: &[u8] = b"|||";
    let mut separators = Vec::new();
    let mut start = 0;
    while let Some(offset) = line[start..].windows(SEPARATOR.len()).position(|window| window == SEPARATOR) {
        separators.push(start + offset);
        start += offset + SEPARATOR.len();
    }
    let [first, second, ..] = separators[..] else {
        return Err("it does not have the form `ID ||| HYPOTHESIS ||| FEATURES ||| TOTAL`");
    };
    let features = second + SEPARATOR.len()..separators.get(2).copied().unwrap_or(line.len());
    let text = trimmed(line, first + SEPARATOR.len()..second);
    let end_of_features = trimmed(line, features).end;
    Ok(Fields { text, insert: end_of_features })
}

fn split_tsv(line: &[u8]) -> Result<Fields, &'static str> {
    let mut tabs = line.iter().enumerate().filter(|(_, byte)| **byte == b'\t').map(|(index, _)| index);
    let first = tabs.next().ok_or("it does not have the form `ID<TAB>HYPOTHESIS`")?;
    let second = tabs.next().unwrap_or(line.len());
    Ok(Fields { text: first + 1..second, insert: line.len() })
}

/// The range without white space at its ends; an empty one stays at its start.
fn trimmed(line: &[u8], range: Range<usize>) -> Range<usize> {
    let is_content = |byte: &u8| !byte.is_ascii_whitespace();
    let part = &line[range.clone()];
    match (part.iter().position(is_content), part.iter().rposition(is_content)) {
        (Some(first), Some(last)) => range.start + first..range.start + last + 1,
        _ => range.start..range.start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, and the line with `#` where the result is inserted.
    fn split(list: NbestList, line: &str) -> Result<(String, String), &'static str> {
        let Fields { text, insert } = Form::Nbest(list).split(line.as_bytes())?;
        Ok((line[text].to_owned(), format!("{}#{}", &line[..insert], &line[insert..])))
    }

    #[test]
    fn the_text_of_an_n_best_list_is_found() {
        let check = |list, line, text: &str, inserted: &str| {
            assert_eq!(split(list, line), Ok((text.to_owned(), inserted.to_owned())), "{line:?}");
        };
        check(NbestList::Kaldi, "utt-1 the  cat ", "the  cat", "utt-1# the  cat ");
        check(NbestList::Kaldi, "utt-2", "", "utt-2#");
        check(NbestList::Moses, "0 ||| the cat ||| LM0= -1 ||| -4", "the cat", "0 ||| the cat ||| LM0= -1# ||| -4");
        check(NbestList::Moses, "0 ||| a ||| d: 0 1 ||| -4 ||| 0-0", "a", "0 ||| a ||| d: 0 1# ||| -4 ||| 0-0");
        check(NbestList::Moses, "0 ||| a ||| d= 0", "a", "0 ||| a ||| d= 0#");
        check(NbestList::Moses, "0 |||  ||| ||| -4", "", "0 |||  |||# ||| -4");
        check(NbestList::Tsv, "7\tthe cat", "the cat", "7\tthe cat#");
        check(NbestList::Tsv, "7\ta b\t-3\tx", "a b", "7\ta b\t-3\tx#");
        check(NbestList::Tsv, "7\t", "", "7\t#");
    }

    #[test]
    fn a_line_without_its_fields_is_an_error() {
        assert!(split(NbestList::Kaldi, "").unwrap_err().contains("utterance id"));
        assert!(split(NbestList::Kaldi, " a b").unwrap_err().contains("utterance id"));
        assert!(split(NbestList::Moses, "0 ||| a").unwrap_err().contains("`ID ||| HYPOTHESIS ||| FEATURES"));
        assert!(split(NbestList::Tsv, "0 a").unwrap_err().contains("`ID<TAB>HYPOTHESIS`"));
    }
}
