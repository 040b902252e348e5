//! Charts of the perplexity by epoch: one for the terminal, and `perplexity.svg` in the folder of a run.
//!
//! Both have a logarithmic scale, because perplexity is the exponential of the loss.

use plotters::prelude::*;
use rnnlm_model::{Metrics, RunWriter};
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use crate::failure::{Failure, Result};
use crate::human;

/// The chart in the folder of a run.
const FILE_NAME: &str = "perplexity.svg";
/// The Braille pattern without dots: the background of the terminal chart.
const BLANK: char = '\u{2800}';

/// The chart for the terminal; `None` with fewer than two epochs.
pub(crate) fn terminal(metrics: &[Metrics]) -> Option<String> {
    let points: Vec<(f32, f32)> = metrics.iter().map(|m| (m.epoch as f32, m.perplexity.ln() as f32)).collect();
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut chart = Chart::new(120, 32, first.0, last.0);
    let curve = Shape::Lines(&points);
    let chart = chart
        .lineplot(&curve)
        .x_label_format(LabelFormat::Custom(Box::new(|epoch| format!("epoch {epoch}"))))
        .y_label_format(LabelFormat::Custom(Box::new(|ln| human::perplexity(f64::from(ln).exp()))));
    chart.figures();
    let drawn = chart.to_string();
    let lines: Vec<&str> = drawn.trim_end().lines().map(|line| line.trim_end_matches(BLANK)).collect();
    Some(lines.join("\n"))
}

/// Perplexities that get a tick if they are within the range of the chart. If none is, its ends get one.
const TICKS: [f64; 15] = [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5];

/// Writes `perplexity.svg` atomically into the folder of a run. Without epochs it writes nothing.
pub(crate) fn svg(metrics: &[Metrics], writer: &RunWriter) -> Result<()> {
    if metrics.is_empty() {
        return Ok(());
    }
    let failed = |error: &dyn std::error::Error| {
        let path = writer.run().path().join(FILE_NAME);
        Failure::failed(format!("`{}` cannot be written: {error}", path.display()))
            .with_hint("the run itself is saved and can be used")
    };
    let svg = draw(metrics).map_err(|error| failed(&*error))?;
    writer.write_derived(FILE_NAME, svg.as_bytes()).map_err(|error| failed(&error))
}

fn draw(metrics: &[Metrics]) -> Result<String, Box<dyn std::error::Error>> {
    let perplexities = || metrics.iter().flat_map(|m| [Some(m.perplexity), m.val_perplexity]).flatten();
    let lowest = perplexities().fold(f64::MAX, f64::min).max(1.0);
    let highest = perplexities().fold(1.0, f64::max);
    let range = lowest * 0.95..highest * 1.05;
    // plotters draws ticks outside of the range beyond the axes
    let in_range: Vec<f64> = TICKS.into_iter().filter(|tick| range.contains(tick)).collect();
    let ticks = if in_range.is_empty() { vec![lowest, highest] } else { in_range };
    let label = |tick: &f64| match *tick {
        tick if !TICKS.contains(&tick) => human::perplexity(tick),
        tick if tick < 10.0 => format!("{tick:.1}"),
        tick => format!("{tick:.0}"),
    };
    let last = metrics.last().map_or(1, |m| m.epoch);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (720, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption("perplexity", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(1..last.max(2), range.log_scale().with_key_points(ticks))?;
        chart.configure_mesh().x_desc("epoch").y_label_formatter(&label).light_line_style(WHITE.mix(0.0)).draw()?;
        // a single epoch is drawn as a dot, because it makes no line
        let dot = if metrics.len() == 1 { 3 } else { 0 };
        let curve = metrics.iter().map(|m| (m.epoch, m.perplexity));
        let curve = LineSeries::new(curve, BLUE.stroke_width(2)).point_size(dot);
        chart.draw_series(curve)?.label("training").legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE));
        let validation: Vec<_> = metrics.iter().filter_map(|m| Some((m.epoch, m.val_perplexity?))).collect();
        if !validation.is_empty() {
            let curve = LineSeries::new(validation, RED.stroke_width(2)).point_size(dot);
            chart.draw_series(curve)?.label("validation").legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], RED));
            chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        }
        root.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(perplexities: &[f64]) -> Vec<Metrics> {
        let epoch = |(index, &perplexity): (usize, &f64)| Metrics {
            epoch: index as u64 + 1,
            perplexity,
            val_perplexity: None,
            val_perplexity_reason: None,
            tokens_per_second: 1.0,
            lr: 1.0,
            gradient_norm: 1.0,
            seconds: 1.0,
        };
        perplexities.iter().enumerate().map(epoch).collect()
    }

    #[test]
    fn the_terminal_chart_is_labelled_with_both_ends() {
        let chart = terminal(&metrics(&[20.0, 7.0, 2.5])).expect("three points make a line");
        let lines: Vec<&str> = chart.lines().collect();
        assert!(lines[0].starts_with('⠉') && lines[0].ends_with(" 20.00"), "{chart}");
        assert!(lines[lines.len() - 2].ends_with(" 2.500"), "{chart}");
        assert!(lines[lines.len() - 1].starts_with("epoch 1 ") && chart.ends_with("epoch 3"), "{chart}");
    }

    #[test]
    fn one_epoch_gives_no_terminal_chart_and_a_flat_curve_gives_one() {
        assert!(terminal(&metrics(&[])).is_none());
        assert!(terminal(&metrics(&[3.0])).is_none());
        assert!(terminal(&metrics(&[1.0, 1.0, 1.0])).is_some());
        assert!(
            terminal(&metrics(&[1.25, 1.26])).is_some_and(|chart| chart.lines().next().unwrap().ends_with("1.260"))
        );
    }

    #[test]
    fn a_validation_set_adds_a_curve_and_a_legend() {
        let mut metrics = metrics(&[20.0, 7.0]);
        assert!(!draw(&metrics).expect("it is drawn").contains("validation"));
        metrics.iter_mut().for_each(|metrics| metrics.val_perplexity = Some(metrics.perplexity + 1.0));
        let drawn = draw(&metrics).expect("it is drawn");
        assert!(drawn.contains("validation") && drawn.contains("training"), "{drawn}");
    }

    #[test]
    fn grid_lines_stay_within_the_axes() {
        let drawn = draw(&metrics(&[20.0, 7.0, 1.306])).expect("it is drawn");
        let heights: Vec<i32> = drawn
            .split('"')
            .collect::<Vec<_>>()
            .windows(3)
            .filter(|parts| parts[0].trim().ends_with("y1=") || parts[0].trim().ends_with("y2="))
            .map(|parts| parts[1].parse().expect("a whole number"))
            .collect();
        // 400 pixels, less a margin of 12 and 36 for the labels of the epochs
        assert!(heights.len() > 10 && heights.iter().all(|height| (12..=352).contains(height)), "{heights:?}");
    }

    #[test]
    fn without_a_round_perplexity_in_range_the_ends_get_ticks() {
        let drawn = draw(&metrics(&[1.3, 1.28, 1.271])).expect("it is drawn");
        let labels: Vec<&str> = drawn.lines().filter(|line| line.starts_with("1.")).collect();
        assert_eq!(labels, ["1.271", "1.300"]);
    }

    #[test]
    fn several_epochs_are_a_line_and_one_is_a_dot() {
        let dot = draw(&metrics(&[20.0])).expect("it is drawn");
        assert!(dot.contains("<circle"), "{dot}");
        let line = draw(&metrics(&[20.0, 7.0])).expect("it is drawn");
        assert!(line.contains("<polyline") && !line.contains("<circle"), "{line}");
    }
}
