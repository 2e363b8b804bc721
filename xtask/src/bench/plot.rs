//! The plot: times as a share of cp's, one bar each, and growth as lines over both axes' logarithms.

use std::fmt::Write as _;

/// A case as a share of the `cp` that it ran beside.
pub struct Ratio {
    /// The file system.
    pub system: String,
    /// The case.
    pub name: String,
    /// The share.
    pub value: f64,
    /// The most that it should be.
    pub limit: f64,
}

/// A line.
pub struct Growth {
    /// What it shows.
    pub name: &'static str,
    /// GiB and seconds.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 250.0;
const ROW: f64 = 24.0;
const GROWTH_HEIGHT: f64 = 260.0;
const COLOURS: [&str; 4] = ["#1f6fb4", "#999999", "#c8553d", "#4f9d69"];

/// The plot as SVG.
pub fn svg(ratios: &[Ratio], growth: &[Growth]) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    if !ratios.is_empty() {
        y = bars(&mut body, ratios, y);
    }
    if !growth.is_empty() {
        y = lines(&mut body, growth, y + 30.0);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

// Writing to a string does not fail.

fn text(body: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222222\">{words}</text>"
    );
}

fn line(body: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
    let _ = writeln!(
        body,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
    );
}

fn bars(body: &mut String, ratios: &[Ratio], top: f64) -> f64 {
    text(
        body,
        12.0,
        top,
        "start",
        "Time as a share of cp's (1 = as long as cp; red mark: the bar)",
    );
    let most = ratios.iter().map(|ratio| ratio.value).fold(1.1, f64::max);
    let x = |value: f64| LABELS + value / most * (WIDTH - LABELS - 70.0);
    let mut y = top + 14.0;
    let start = y;
    let mut system = "";
    for ratio in ratios {
        if system != ratio.system {
            system = &ratio.system;
            y += 8.0;
        }
        let label = format!("{}: {}", ratio.system, ratio.name);
        text(body, LABELS - 8.0, y + 16.0, "end", &label);
        let _ = writeln!(
            body,
            "<rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{}\"/>",
            y + 3.0,
            (x(ratio.value) - LABELS).max(1.0),
            COLOURS[0]
        );
        let mark = x(ratio.limit.min(most));
        let style = format!("stroke=\"{}\" stroke-width=\"2\"", COLOURS[2]);
        line(body, (mark, y + 1.0), (mark, y + 21.0), &style);
        let right = x(ratio.value).max(mark) + 6.0;
        text(
            body,
            right,
            y + 16.0,
            "start",
            &format!("{:.3}", ratio.value),
        );
        y += ROW;
    }
    let style = "stroke=\"#666666\" stroke-dasharray=\"4 3\"";
    line(body, (x(1.0), start), (x(1.0), y), style);
    y + 4.0
}

fn lines(body: &mut String, growth: &[Growth], top: f64) -> f64 {
    text(
        body,
        12.0,
        top,
        "start",
        "Growth: seconds over GiB of guest memory, both logarithmic",
    );
    let all = || growth.iter().flat_map(|line| &line.points);
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        let values = || all().map(of).map(f64::log10);
        let (least, most) = (
            values().fold(f64::MAX, f64::min),
            values().fold(f64::MIN, f64::max),
        );
        (least, (most - least).max(0.1))
    };
    let ((x0, width), (y0, height)) = (bounds(|point| point.0), bounds(|point| point.1));
    let (left, right, bottom) = (80.0, WIDTH - 160.0, top + GROWTH_HEIGHT);
    let x = |gib: f64| left + (gib.log10() - x0) / width * (right - left);
    let y = |seconds: f64| bottom - (seconds.log10() - y0) / height * (GROWTH_HEIGHT - 30.0);
    let axis = "stroke=\"#666666\"";
    line(body, (left, bottom), (right, bottom), axis);
    line(body, (left, top + 20.0), (left, bottom), axis);
    for &(gib, _) in growth.first().map_or(&[][..], |line| &line.points) {
        line(body, (x(gib), bottom), (x(gib), bottom + 5.0), axis);
        text(body, x(gib), bottom + 20.0, "middle", &format!("{gib}"));
    }
    for power in -3..=4 {
        let seconds = 10_f64.powi(power);
        if (y0 - 0.001..=y0 + height + 0.001).contains(&f64::from(power)) {
            line(body, (left - 5.0, y(seconds)), (left, y(seconds)), axis);
            text(
                body,
                left - 9.0,
                y(seconds) + 4.0,
                "end",
                &format!("{seconds} s"),
            );
        }
    }
    for (one, colour) in growth.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> = one
            .points
            .iter()
            .map(|&(gib, seconds)| (x(gib), y(seconds)))
            .collect();
        series(body, one, &points, colour);
    }
    bottom + 36.0
}

/// One line of the growth: its points on the page, and its name beside the last.
fn series(body: &mut String, growth: &Growth, points: &[(f64, f64)], colour: &str) {
    let mut corners = String::new();
    for (x, y) in points {
        let _ = write!(corners, "{x:.1},{y:.1} ");
        let _ = writeln!(
            body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
    let _ = writeln!(
        body,
        "<polyline points=\"{corners}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    if let (Some((x, y)), Some((_, seconds))) = (points.last(), growth.points.last()) {
        let label = format!("{} {seconds:.2} s", growth.name);
        text(body, x + 8.0, y + 4.0, "start", &label);
    }
}
