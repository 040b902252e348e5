//! Charts as SVG.

use std::fmt::Write;
use std::ops::Range;

use super::axis::{epoch_label, epoch_ticks, perplexity_label, perplexity_ticks, range};
use super::curves::Points;

/// Colors that people with color vision deficiencies can distinguish, from the palette of Okabe and Ito.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// The area of the curves, without labels.
const PLOT: Area = Area { left: 84.0, top: 44.0, width: 600.0, height: 320.0 };
/// Space below the curves for the labels of the epochs.
const BOTTOM: f64 = 56.0;
/// The most ticks of the epochs, about.
const EPOCH_TICKS: usize = 10;
/// Distance between two lines of the legend, and the width of a character there, at most.
const LEGEND: [f64; 2] = [20.0, 8.0];
/// Length of a line in the legend, with the space around it.
const LEGEND_LINE: f64 = 44.0;

#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Area {
    fn right(self) -> f64 {
        self.left + self.width
    }

    fn bottom(self) -> f64 {
        self.top + self.height
    }
}

/// A curve with its name.
#[derive(Clone, Debug)]
pub(super) struct Series {
    name: String,
    points: Points,
    color: &'static str,
    dashed: bool,
}

impl Series {
    /// A solid curve in the color with this index.
    pub(super) fn new(name: &str, points: Points, color: usize) -> Self {
        Self { name: name.to_owned(), points, color: COLORS[color % COLORS.len()], dashed: false }
    }

    /// The same curve, dashed.
    #[must_use]
    pub(super) fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The attributes of its lines.
    fn stroke(&self) -> String {
        let dashes = if self.dashed { r#" stroke-dasharray="6 4""# } else { "" };
        format!(r#"fill="none" stroke="{}" stroke-width="2"{dashes}"#, self.color)
    }
}

/// The scales of the axes: a linear one of epochs and a logarithmic one of perplexities, each with its ticks.
struct Scales {
    epoch_ticks: Vec<f64>,
    perplexity_ticks: Vec<f64>,
    epochs: Range<f64>,
    perplexities: Range<f64>,
}

impl Scales {
    fn x(&self, epoch: f64) -> f64 {
        let Range { start, end } = self.epochs;
        PLOT.left + (epoch - start) / (end - start) * PLOT.width
    }

    fn y(&self, perplexity: f64) -> f64 {
        let Range { start, end } = self.perplexities;
        PLOT.bottom() - (perplexity / start).ln() / (end / start).ln() * PLOT.height
    }

    fn point(&self, (epoch, perplexity): (f64, f64)) -> [f64; 2] {
        [self.x(epoch), self.y(perplexity.max(1.0))]
    }
}

/// Draws curves of a quantity, such as `perplexity`, into one chart; `None` without points.
pub(super) fn draw(series: &[Series], quantity: &str) -> Option<String> {
    let points = || series.iter().flat_map(|series| &series.points);
    let epochs = range(points().map(|&(epoch, _)| epoch))?;
    let perplexities = range(points().map(|&(_, perplexity)| perplexity.max(1.0)))?;
    // a margin below and above the curves
    let padding = (perplexities.end / perplexities.start).powf(0.03).max(1.01);
    let scales = Scales {
        epoch_ticks: epoch_ticks(&epochs, EPOCH_TICKS),
        perplexity_ticks: perplexity_ticks(&perplexities),
        epochs: if epochs.start == epochs.end { epochs.start - 0.5..epochs.end + 0.5 } else { epochs },
        perplexities: perplexities.start / padding..perplexities.end * padding,
    };
    let names = series.iter().map(|series| series.name.chars().count());
    let width = PLOT.right() + LEGEND_LINE + LEGEND[1] * names.max()? as f64;
    let height = (PLOT.bottom() + BOTTOM).max(PLOT.top + LEGEND[0] * (series.len() as f64 + 1.0));

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    axes(&mut svg, &scales, quantity);
    for (index, series) in series.iter().enumerate() {
        curve(&mut svg, &scales, series);
        legend(&mut svg, index, series);
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn axes(svg: &mut String, scales: &Scales, quantity: &str) {
    let Area { left, top, width, height } = PLOT;
    let (right, bottom) = (PLOT.right(), PLOT.bottom());
    let mut add = |element: String| {
        let _ = writeln!(svg, "{element}");
    };
    for &tick in &scales.perplexity_ticks {
        let (y, label) = (scales.y(tick), perplexity_label(tick));
        add(format!(r##"<line x1="{left}" y1="{y:.1}" x2="{right}" y2="{y:.1}" stroke="#ddd"/>"##));
        add(format!(r#"<text x="{}" y="{:.1}" text-anchor="end">{label}</text>"#, left - 8.0, y + 4.5));
    }
    for &tick in &scales.epoch_ticks {
        let (x, label) = (scales.x(tick), epoch_label(tick));
        add(format!(r##"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}" stroke="#ddd"/>"##));
        add(format!(r#"<text x="{x:.1}" y="{}" text-anchor="middle">{label}</text>"#, bottom + 18.0));
    }
    add(format!(r##"<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#666"/>"##));
    let (center, middle) = (left + width / 2.0, top + height / 2.0);
    add(format!(r#"<text x="{center}" y="26" text-anchor="middle" font-size="16">Perplexity by epoch</text>"#));
    add(format!(r#"<text x="{center}" y="{}" text-anchor="middle">epoch</text>"#, bottom + 42.0));
    add(format!(
        r#"<text transform="translate(20 {middle}) rotate(-90)" text-anchor="middle">{quantity} (logarithmic scale)</text>"#
    ));
}

fn curve(svg: &mut String, scales: &Scales, series: &Series) {
    let points = series.points.iter().map(|&point| scales.point(point));
    let _ = match series.points[..] {
        // a single point is drawn as a dot, because it makes no line
        [point] => {
            let [x, y] = scales.point(point);
            writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{}"/>"#, series.color)
        }
        _ => {
            let points: Vec<String> = points.map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
            writeln!(svg, r#"<polyline points="{}" {}/>"#, points.join(" "), series.stroke())
        }
    };
}

fn legend(svg: &mut String, index: usize, series: &Series) {
    let (x, y) = (PLOT.right() + 12.0, PLOT.top + LEGEND[0] * (index as f64 + 0.5));
    let stroke = series.stroke();
    let _ = writeln!(svg, r#"<path d="M{x} {y}h24" {stroke}/>"#);
    let _ = writeln!(svg, r#"<text x="{}" y="{}">{}</text>"#, x + 30.0, y + 4.5, escaped(&series.name));
}

/// Text for XML. Control characters, which XML does not allow, become U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, perplexities: &[f64]) -> Series {
        let points = perplexities.iter().enumerate().map(|(index, &perplexity)| (index as f64 + 1.0, perplexity));
        Series::new(name, points.collect(), 0)
    }

    #[test]
    fn curves_and_the_axis_are_named() {
        let drawn =
            draw(&[series("training", &[20.0, 7.0]), series("a<b&\u{1b}", &[21.0, 8.0]).dashed()], "perplexity")
                .unwrap();
        for words in [">perplexity (logarithmic scale)<", ">epoch<", ">training<", ">a&lt;b&amp;\u{fffd}<", "dasharray"]
        {
            assert!(drawn.contains(words), "{words}: {drawn}");
        }
        assert_eq!(drawn.matches("<polyline").count(), 2);
        assert!(draw(&[], "perplexity").is_none());
    }

    #[test]
    fn several_epochs_are_a_line_and_one_is_a_dot() {
        let dot = draw(&[series("training", &[20.0])], "perplexity").unwrap();
        assert!(dot.contains("<circle") && !dot.contains("<polyline"), "{dot}");
        let line = draw(&[series("training", &[20.0, 7.0])], "perplexity").unwrap();
        assert!(line.contains("<polyline") && !line.contains("<circle"), "{line}");
    }

    /// The numbers of all attributes with this name.
    fn numbers(svg: &str, name: &str) -> Vec<f64> {
        let start = format!(" {name}=\"");
        svg.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn lines_stay_within_the_axes_and_the_scale_is_logarithmic() {
        let drawn = draw(&[series("training", &[20.0, 7.0, 1.306])], "perplexity").unwrap();
        let heights = [numbers(&drawn, "y1"), numbers(&drawn, "y2")].concat();
        assert!(heights.len() > 10 && heights.iter().all(|y| (PLOT.top..=PLOT.bottom()).contains(y)), "{heights:?}");
        // the ticks at 5, 10 and 20 have equal distances
        let y = |perplexity: &str| {
            let text = drawn.lines().find(|line| line.ends_with(&format!(">{perplexity}</text>"))).unwrap();
            numbers(text, "y")[0]
        };
        assert!((y("5") - 2.0 * y("10") + y("20")).abs() < 0.2, "{drawn}");
    }
}
