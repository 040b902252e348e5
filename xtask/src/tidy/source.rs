//! A Rust file with code and comments separated, and the lines of tests marked. It knows just enough of the grammar to tell a
//! word in code from the same word in a comment or a string.

use super::text_file::TextFile;

/// A Rust file, line by line.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) lines: Vec<Line<'a>>,
}

/// A line: as written, code only, and comments only. The rest is replaced by spaces; literals are in neither.
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) code: String,
    pub(super) comment: String,
    /// Whether the line is part of a `#[cfg(test)]` item, or the file one of tests, examples or benches.
    pub(super) is_test: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a TextFile) -> Self {
        let (code, comments) = split(&file.text);
        let is_test_file = ["/tests/", "/examples/", "/benches/"].iter().any(|folder| file.path.contains(folder))
            || file.path.ends_with("/tests.rs");
        let tests = test_lines(&code);
        let lines = file.text.lines().zip(code.lines()).zip(comments.lines()).enumerate();
        let lines = lines.map(|(index, ((text, code), comment))| Line {
            text,
            code: code.to_owned(),
            comment: comment.to_owned(),
            is_test: is_test_file || tests.iter().any(|range| range.contains(&index)),
        });
        Self { path: &file.path, lines: lines.collect() }
    }

    /// The number of lines that are not tests.
    pub(super) fn length(&self) -> usize {
        self.lines.iter().filter(|line| !line.is_test).count()
    }
}

/// The class of a piece of text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Code,
    Comment,
    Literal,
}

/// The code and the comments of `text`, each at its original position, with spaces for everything else.
fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    while !rest.is_empty() {
        let (class, length) = next(rest);
        for character in rest[..length].chars() {
            let blank = if character == '\n' { '\n' } else { ' ' };
            code.push(if class == Class::Code { character } else { blank });
            comments.push(if class == Class::Comment { character } else { blank });
        }
        rest = &rest[length..];
    }
    (code, comments)
}

/// The class and the length in bytes of the token at the start of `rest`.
fn next(rest: &str) -> (Class, usize) {
    let first = rest.chars().next().expect("the rest is not empty");
    if rest.starts_with("//") {
        return (Class::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Class::Comment, block_comment(rest));
    }
    if first == '"' {
        return (Class::Literal, string(rest));
    }
    if first == '\'' {
        return character(rest).map_or((Class::Code, 1), |length| (Class::Literal, length));
    }
    if !is_word(first) {
        return (Class::Code, first.len_utf8());
    }
    let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let after = &rest[word..];
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let is_prefix = matches!(&rest[..word], "r" | "br" | "cr");
    if is_prefix && after[hashes..].starts_with('"') {
        let end = format!("\"{}", &after[..hashes]);
        let body = &after[hashes + 1..];
        let closed = body.find(&end).map_or(body.len(), |at| at + end.len());
        return (Class::Literal, word + hashes + 1 + closed);
    }
    (Class::Code, word)
}

/// The length of a block comment, which may contain others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let ahead = &rest.as_bytes()[at..];
        if ahead.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if ahead.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a string literal, with its quotes.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal, with its quotes; `None` if the quote starts a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        let (escaped, _) = characters.next()?;
        return rest[escaped + 1..].find('\'').map(|end| escaped + 1 + end + 1);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 1)
}

/// Whether `character` can be part of an identifier.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The line ranges, counted from 0, of the items that are compiled only for tests.
fn test_lines(code: &str) -> Vec<std::ops::Range<usize>> {
    let line_of = |at: usize| code[..at].matches('\n').count();
    let attributes = code.match_indices("#[cfg(test)]").chain(code.match_indices("#[cfg(all(test,"));
    attributes.map(|(start, _)| line_of(start)..line_of(start + item(&code[start..])) + 1).collect()
}

/// The length of the item at the start of `code`, up to its closing brace or semicolon.
fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            b';' if depth == 0 => return at,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// The byte offsets of `word` in `text`, where it is not part of a longer word.
pub(super) fn find_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let ends =
        |at: usize| text[at + word.len()..].chars().next().is_none_or(|next| word.ends_with('!') || !is_word(next));
    let starts = |at: usize| text[..at].chars().next_back().is_none_or(|previous| !is_word(previous));
    text.match_indices(word).map(|(at, _)| at).filter(move |at| starts(*at) && ends(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = r####"a // one "b
            /* two /* c */ three */ d("four \" five", 'e', '\'', b'f', '\u{61}', &'g str)
            r#"six " seven"# h br"eight\" r#i "nine
            // ten" k //! eleven 'l"####;
        let (code, comments) = split(text);
        assert_eq!(words(&code), ["a", "d", "b", "g", "str", "h", "r", "i", "k"]);
        assert_eq!(words(&comments), ["one", "b", "two", "c", "three", "eleven", "l"]);
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn a_word_keeps_its_position() {
        let (code, comments) = split("let é = \"ü\"; // ß\nx");
        assert_eq!(code, "let é =    ;     \nx");
        assert_eq!(comments, "             // ß\n ");
    }

    fn tests_of(path: &str, text: &str) -> Vec<bool> {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        Source::new(&file).lines.iter().map(|line| line.is_test).collect()
    }

    #[test]
    fn an_item_with_cfg_test_is_marked() {
        let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests {\n fn b() { '}' }\n}\nfn c() {}\n";
        assert_eq!(tests_of("src/lib.rs", text), [false, true, true, true, true, true, false]);
        let text = "#[cfg(test)]\nconst A: [u8; 3] =\n [0; 3];\nfn c() {}\n#[cfg(all(test, unix))] use d;\nfn e() {}";
        assert_eq!(tests_of("src/lib.rs", text), [true, true, true, false, true, false]);
    }

    #[test]
    fn the_lines_of_a_test_file_are_marked() {
        for path in ["crates/a/tests/b.rs", "crates/a/examples/b.rs", "tests/tests/b.rs", "crates/a/src/tests.rs"] {
            assert_eq!(tests_of(path, "fn a() {}"), [true], "{path}");
        }
        for path in ["tests/src/b.rs", "crates/a/src/contests.rs"] {
            assert_eq!(tests_of(path, "fn a() {}"), [false], "{path}");
        }
    }
}
