//! The curve of the perplexity: a few lines in the terminal, and `perplexity.svg`. Both from the run's metrics, on a
//! logarithmic scale, since perplexity is the exponential of what is learnt.

use std::fs;
use std::io;
use std::path::Path;

use plotters::prelude::*;
use rnnlm_model::{Metrics, RunWriter};
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use crate::failure::{Failure, Result};
use crate::format;

/// The picture in the folder of a run.
const PICTURE: &str = "perplexity.svg";
/// A Braille pattern without dots, the background of the chart in the terminal.
const BLANK: char = '\u{2800}';

/// The chart in the terminal, `None` where there is nothing to draw.
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
        .y_label_format(LabelFormat::Custom(Box::new(|ln| format::perplexity(f64::from(ln).exp()))));
    chart.figures();
    let drawn = chart.to_string();
    let lines: Vec<&str> = drawn.trim_end().lines().map(|line| line.trim_end_matches(BLANK)).collect();
    Some(lines.join("\n"))
}

/// Round perplexities; those within the picture are marked, or its lowest and highest where none is.
const TICKS: [f64; 15] = [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 1e4, 1e5];

/// Writes the curve into the folder of a run, whole or not at all; nothing if there is no epoch to draw.
pub(crate) fn svg(metrics: &[Metrics], writer: &RunWriter) -> Result<()> {
    if metrics.is_empty() {
        return Ok(());
    }
    let failed = |error: &dyn std::error::Error| {
        let message = format!("`{}` cannot be written: {error}", writer.run().path().join(PICTURE).display());
        Failure::new(message, "the run itself is saved and can be used")
    };
    let svg = draw(metrics).map_err(|error| failed(&*error))?;
    writer.write_derived(PICTURE, svg.as_bytes()).map_err(|error| failed(&error))
}

/// Takes away the curve of a run that is being replaced.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    let path = folder.join(PICTURE);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(rnnlm_model::Error::Io { path, action: "replaced", source }.into())
        }
        _ => Ok(()),
    }
}

fn draw(metrics: &[Metrics]) -> Result<String, Box<dyn std::error::Error>> {
    let perplexities = || metrics.iter().flat_map(|m| [Some(m.perplexity), m.val_perplexity]).flatten();
    let lowest = perplexities().fold(f64::MAX, f64::min).max(1.0);
    let highest = perplexities().fold(1.0, f64::max);
    let drawn = lowest * 0.95..highest * 1.05;
    // one that lies outside would be drawn beyond the axes
    let round: Vec<f64> = TICKS.into_iter().filter(|tick| drawn.contains(tick)).collect();
    let ticks = if round.is_empty() { vec![lowest, highest] } else { round };
    let label = |tick: &f64| match *tick {
        tick if !TICKS.contains(&tick) => format::perplexity(tick),
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
            .build_cartesian_2d(1..last.max(2), drawn.log_scale().with_key_points(ticks))?;
        chart.configure_mesh().x_desc("epoch").y_label_formatter(&label).light_line_style(WHITE.mix(0.0)).draw()?;
        // one epoch is a dot, not a line
        let dot = if metrics.len() == 1 { 3 } else { 0 };
        let curve = metrics.iter().map(|m| (m.epoch, m.perplexity));
        let curve = LineSeries::new(curve, BLUE.stroke_width(2)).point_size(dot);
        chart.draw_series(curve)?.label("training").legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE));
        let held_out: Vec<_> = metrics.iter().filter_map(|m| Some((m.epoch, m.val_perplexity?))).collect();
        if !held_out.is_empty() {
            let curve = LineSeries::new(held_out, RED.stroke_width(2)).point_size(dot);
            chart.draw_series(curve)?.label("held out").legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], RED));
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
            tokens_per_second: 1.0,
            lr: 1.0,
            gradient_norm: 1.0,
            seconds: 1.0,
        };
        perplexities.iter().enumerate().map(epoch).collect()
    }

    #[test]
    fn the_terminal_s_chart_runs_from_the_highest_to_the_lowest() {
        let chart = terminal(&metrics(&[20.0, 7.0, 2.5])).expect("three points make a line");
        let lines: Vec<&str> = chart.lines().collect();
        assert!(lines[0].starts_with('⠉') && lines[0].ends_with(" 20.00"), "{chart}");
        assert!(lines[lines.len() - 2].ends_with(" 2.500"), "{chart}");
        assert!(lines[lines.len() - 1].starts_with("epoch 1 ") && chart.ends_with("epoch 3"), "{chart}");
    }

    #[test]
    fn what_makes_no_line_makes_no_chart_and_what_is_flat_does_no_harm() {
        assert!(terminal(&metrics(&[])).is_none());
        assert!(terminal(&metrics(&[3.0])).is_none());
        assert!(terminal(&metrics(&[1.0, 1.0, 1.0])).is_some());
        assert!(
            terminal(&metrics(&[1.25, 1.26])).is_some_and(|chart| chart.lines().next().unwrap().ends_with("1.260"))
        );
    }

    #[test]
    fn held_out_text_has_a_curve_and_a_legend_of_its_own() {
        let mut metrics = metrics(&[20.0, 7.0]);
        assert!(!draw(&metrics).expect("it is drawn").contains("held out"));
        metrics.iter_mut().for_each(|metrics| metrics.val_perplexity = Some(metrics.perplexity + 1.0));
        let drawn = draw(&metrics).expect("it is drawn");
        assert!(drawn.contains("held out") && drawn.contains("training"), "{drawn}");
    }

    #[test]
    fn no_line_of_the_grid_lies_beyond_the_axes() {
        let drawn = draw(&metrics(&[20.0, 7.0, 1.306])).expect("it is drawn");
        let heights: Vec<i32> = drawn
            .split('"')
            .collect::<Vec<_>>()
            .windows(3)
            .filter(|parts| parts[0].trim().ends_with("y1=") || parts[0].trim().ends_with("y2="))
            .map(|parts| parts[1].parse().expect("a whole number"))
            .collect();
        // a picture of 400, with a margin of 12 and 36 for the epochs
        assert!(heights.len() > 10 && heights.iter().all(|height| (12..=352).contains(height)), "{heights:?}");
    }

    #[test]
    fn where_no_round_perplexity_is_near_the_curve_s_own_ends_are_marked() {
        let drawn = draw(&metrics(&[1.3, 1.28, 1.271])).expect("it is drawn");
        let labels: Vec<&str> = drawn.lines().filter(|line| line.starts_with("1.")).collect();
        assert_eq!(labels, ["1.271", "1.300"]);
    }

    #[test]
    fn the_picture_has_a_line_for_epochs_and_a_dot_for_one() {
        let dot = draw(&metrics(&[20.0])).expect("it is drawn");
        assert!(dot.contains("<circle"), "{dot}");
        let line = draw(&metrics(&[20.0, 7.0])).expect("it is drawn");
        assert!(line.contains("<polyline") && !line.contains("<circle"), "{line}");
    }
}
