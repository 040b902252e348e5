//! Formats numbers for people.

use std::time::Duration;

use rnnlm_model::TokenSize;

/// Groups digits by thousands: `10,000`.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in decimal units: `38.1 MB`.
pub(crate) fn bytes(value: u128) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 1000.0 && unit + 1 < units.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{value} {}", if value == 1 { "byte" } else { "bytes" }),
        _ if scaled >= 1e6 => format!("{scaled:.1e} {}", units[unit]),
        _ => format!("{scaled:.1} {}", units[unit]),
    }
}

/// A number with one of the suffixes k, M, G: `45k`, `1.2M`.
pub(crate) fn compact(value: u64) -> String {
    let (scaled, suffix) = match value as f64 {
        v if v < 999.5 => (v, ""),
        v if v < 999.5e3 => (v / 1e3, "k"),
        v if v < 999.5e6 => (v / 1e6, "M"),
        v => (v / 1e9, "G"),
    };
    if scaled < 9.95 && !suffix.is_empty() { format!("{scaled:.1}{suffix}") } else { format!("{scaled:.0}{suffix}") }
}

/// A duration in its two largest units: `4d 3h`, `2h 13m`, `3m 20s`, `12s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let [minutes, hours, days] = [seconds / 60, seconds / 3600, seconds / 86_400];
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{}d {}h", thousands(days), hours % 24),
    }
}

/// A perplexity, with fewer decimals the larger it is: `1.293`, `27.96`, `4580`.
pub(crate) fn perplexity(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.3}"),
        v if v < 100.0 => format!("{v:.2}"),
        v if v < 1e6 => format!("{v:.0}"),
        v => format!("{v:.2e}"),
    }
}

/// A perplexity per token in bits: `2.1234 bits per char, 2.0987 bits per byte`.
pub(crate) fn bits(size: &TokenSize, perplexity: f64) -> Option<String> {
    let (char, byte) = (size.bits_per_char(perplexity)?, size.bits_per_byte(perplexity)?);
    Some(format!("{char:.4} bits per char, {byte:.4} bits per byte"))
}

/// `count` as a percentage of `total`: `2.1 %`.
pub(crate) fn percent(count: usize, total: usize) -> String {
    format!("{:.1} %", 100.0 * count as f64 / total.max(1) as f64)
}

/// Rounds to one significant digit: `0.03`; very small and very large values are in scientific notation.
pub(crate) fn one_digit(value: f64) -> String {
    let rounded = format!("{value:.0e}");
    match rounded.parse::<f64>() {
        Ok(plain) if (1e-4..1e6).contains(&plain) => plain.to_string(),
        _ => rounded,
    }
}

/// A count with its noun: `1 thread`, `2 threads`.
pub(crate) fn count(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(value), if value == 1 { "" } else { "s" })
}

/// The width of a terminal that every line should fit.
const WIDTH: usize = 80;

/// `start` and the words of `text` in lines of at most 80 columns, except for a word that is longer than that. Later
/// lines are indented.
pub(crate) fn wrapped(start: &str, text: &str, indent: usize) -> String {
    let mut lines = start.to_owned();
    let mut column = start.chars().count();
    let mut is_first = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !is_first && column + 1 + length > WIDTH {
            lines.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if !is_first {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
        is_first = false;
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_scaled_and_rounded() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(38_100_000), "38.1 MB");
        assert_eq!(bytes(10_u128.pow(30)), "1.0e15 PB");
        assert_eq!(
            [0, 999, 1000, 9_940, 45_210, 999_600, 1_234_567_890].map(compact),
            ["0", "999", "1.0k", "9.9k", "45k", "1.0M", "1.2G"]
        );
        assert_eq!(
            [0, 59, 60, 3599, 3600, 86_399, 86_400 * 1000].map(|s| duration(Duration::from_secs(s))),
            ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1,000d 0h"]
        );
        assert_eq!(perplexity(1.292_6), "1.293");
        assert_eq!(perplexity(27.96), "27.96");
        assert_eq!(one_digit(f64::from(0.3_f32) / 10.0), "0.03");
        assert_eq!(one_digit(0.1), "0.1");
        assert_eq!(one_digit(3e37), "3e37");
        assert_eq!(percent(21, 1000), "2.1 %");
        assert_eq!(count(1, "thread"), "1 thread");
        assert_eq!(count(2, "thread"), "2 threads");
    }

    #[test]
    fn lines_are_broken_between_words() {
        let words = "abcdefghi ".repeat(9);
        let expected = format!("name  {}\n    {}\n", "abcdefghi ".repeat(7).trim_end(), "abcdefghi abcdefghi");
        assert_eq!(wrapped("name  ", words.trim_end(), 4), expected);
        let long = "x".repeat(100);
        assert_eq!(wrapped("    ", &format!("{long} y"), 4), format!("    {long}\n    y\n"));
    }
}
