//! The chart on a terminal.

use rnnlm_model::Metrics;

use super::axis::{epoch_label, perplexity_label, perplexity_ticks, range};
use super::braille::Canvas;
use super::curves::{Curves, Points};

/// The most columns of a chart.
const MAX_COLUMNS: usize = 80;
/// The fewest columns of a chart, also on a narrower terminal.
const MIN_COLUMNS: usize = 40;
/// Rows of the curves.
const ROWS: usize = 10;

/// The chart for a terminal of so many columns; `None` with fewer than two points.
pub(crate) fn terminal(metrics: &[Metrics], columns: usize) -> Option<String> {
    let Curves { training, validation } = Curves::new(metrics);
    if training.len() < 2 {
        return None;
    }
    let curves: Vec<(&str, &Points)> = [("training", &training), ("validation", &validation)]
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let points = || curves.iter().flat_map(|(_, points)| points.iter());
    let epochs = range(points().map(|&(epoch, _)| epoch))?;
    let perplexities = range(points().map(|&(_, perplexity)| perplexity.max(1.0)))?;

    let row_of = |perplexity: f64, rows: usize| {
        position(perplexity.max(1.0).ln(), [perplexities.end.ln(), perplexities.start.ln()], rows)
    };
    let mut labels = vec![String::new(); ROWS];
    // the ends have priority over the ticks between them, which are not in adjacent rows
    for tick in [perplexities.start, perplexities.end].into_iter().chain(perplexity_ticks(&perplexities)) {
        let row = row_of(tick, ROWS);
        let is_free = labels[row.saturating_sub(1)..ROWS.min(row + 2)].iter().all(String::is_empty);
        if is_free {
            labels[row] = perplexity_label(tick);
        }
    }
    let label_width = labels.iter().map(String::len).max()?;
    let name_width = curves.iter().map(|(name, _)| name.len()).max()?;
    let width = columns.clamp(MIN_COLUMNS, MAX_COLUMNS) - label_width - name_width - " ┤ ".chars().count();

    let mut canvas = Canvas::new(width, ROWS);
    let [x_dots, y_dots] = canvas.dots();
    let mut names = vec![""; ROWS];
    for (index, &(name, points)) in curves.iter().enumerate() {
        let dot = |&(epoch, perplexity): &(f64, f64)| {
            [position(epoch, [epochs.start, epochs.end], x_dots), row_of(perplexity, y_dots)]
        };
        points.windows(2).for_each(|ends| canvas.line(dot(&ends[0]), dot(&ends[1]), index > 0));
        let row = points.last().map_or(0, |&(_, perplexity)| row_of(perplexity, ROWS));
        let free = (0..ROWS).filter(|&row| names[row].is_empty()).min_by_key(|&free| free.abs_diff(row));
        names[free.unwrap_or(row)] = name;
    }

    let mut text = String::new();
    for ((row, label), name) in canvas.rows().zip(&labels).zip(names) {
        let mark = if label.is_empty() { '│' } else { '┤' };
        let line = format!("{label:>label_width$} {mark}{row} {name}");
        text.push_str(line.trim_end_matches([' ', '\u{2800}']));
        text.push('\n');
    }
    let (first, last) = (format!("epoch {}", epoch_label(epochs.start)), epoch_label(epochs.end));
    let gap = width.saturating_sub(first.len() + last.len());
    text.push_str(&format!(
        "{:label_width$} └{}\n{:label_width$}  {first}{:gap$}{last}",
        "",
        "─".repeat(width),
        "",
        ""
    ));
    Some(text)
}

/// The cell of `value` among `cells` between two ends.
fn position(value: f64, [first, last]: [f64; 2], cells: usize) -> usize {
    if first == last {
        return cells / 2;
    }
    let part = ((value - first) / (last - first)).clamp(0.0, 1.0);
    (part * (cells - 1) as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::super::tests::metrics;
    use super::*;

    #[test]
    fn the_axis_has_both_ends_and_the_curves_have_names() {
        let chart = terminal(&metrics(&[20.0, 7.0, 2.5]), 80).expect("three points make a line");
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines.len(), ROWS + 2);
        assert!(lines[0].starts_with(" 20 ┤⠉"), "{chart}");
        assert!(lines[ROWS - 1].starts_with("2.5 ┤") && lines[ROWS - 1].ends_with(" training"), "{chart}");
        assert!(lines[ROWS].starts_with("    └──"), "{chart}");
        assert!(lines[ROWS + 1].starts_with("     epoch 1 ") && chart.ends_with(" 3"), "{chart}");
        // ln(20/10) / ln(20/2.5) = 1/3 of the nine rows below the first; 6 is at 0.58 and 4 at 0.77 of them
        assert!(
            lines[3].starts_with(" 10 ┤") && lines[5].starts_with("  6 ┤") && lines[7].starts_with("  4 ┤"),
            "{chart}"
        );
    }

    #[test]
    fn a_validation_set_adds_a_named_curve() {
        let mut metrics = metrics(&[20.0, 7.0, 2.5]);
        assert!(!terminal(&metrics, 80).unwrap().contains("validation"));
        metrics.iter_mut().for_each(|metrics| metrics.val_perplexity = Some(metrics.perplexity));
        let chart = terminal(&metrics, 80).unwrap();
        assert!(chart.contains(" training\n") && chart.contains(" validation\n"), "{chart}");
    }

    #[test]
    fn a_chart_fits_the_terminal() {
        let mut metrics = metrics(&[4.58e7, 7.0, 1.5, 1.293]);
        metrics.iter_mut().for_each(|metrics| metrics.val_perplexity = Some(metrics.perplexity + 1.0));
        for columns in [40, 41, 60, 80, 81, 200] {
            let chart = terminal(&metrics, columns).unwrap();
            let widest = chart.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns.min(MAX_COLUMNS)), "{columns}:\n{chart}");
        }
    }

    #[test]
    fn one_epoch_gives_no_chart_and_a_flat_curve_gives_one() {
        assert!(terminal(&metrics(&[]), 80).is_none());
        assert!(terminal(&metrics(&[3.0]), 80).is_none());
        assert!(terminal(&metrics(&[1.0, 1.0, 1.0]), 80).is_some());
        let chart = terminal(&metrics(&[1.25, 1.26]), 80).unwrap();
        assert!(chart.starts_with("1.260 ┤") && chart.contains("\n1.250 ┤"), "{chart}");
    }
}
