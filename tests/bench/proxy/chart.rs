//! The chart: horizontal bars in SVG, readable on a light and on a dark page.

use std::fmt::Write as _;

use crate::figures::Report;

const WIDTH: f64 = 860.0;
/// Where bars begin: left of it stand their labels.
const LEFT: f64 = 170.0;
/// Right of the longest bar stands its figure.
const RIGHT: f64 = 90.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
const HEAD: f64 = 44.0;
const GAP: f64 = 18.0;

/// Bars that are compared with each other.
struct Panel {
    title: &'static str,
    decimals: usize,
    rows: Vec<(&'static str, f64)>,
}

/// Draws the figures that matter most.
pub(crate) fn draw(report: &Report) -> String {
    let cpu = |cell| rows(report, |target| report.middle(target, cell, |cell| cell.cpu_us_per_request));
    let proxies = |rows: Vec<(&'static str, f64)>| rows.into_iter().filter(|(target, _)| *target != "direct").collect();
    let panels = [
        Panel {
            title: "Processor time for a call, 1 connection (µs, less is better)",
            decimals: 0,
            rows: cpu("calls_1"),
        },
        Panel {
            title: "Processor time for a call, 8 connections (µs, less is better)",
            decimals: 0,
            rows: cpu("calls_8"),
        },
        Panel {
            title: "Processor time for a call, 32 connections (µs, less is better)",
            decimals: 0,
            rows: cpu("calls_32"),
        },
        Panel {
            title: "Median time of a call, 1 connection (ms, less is better)",
            decimals: 2,
            rows: rows(report, |target| report.middle(target, "calls_1", |cell| cell.found.p50_us / 1e3)),
        },
        Panel {
            title: "Calls a second, 8 connections (more is better)",
            decimals: 0,
            rows: proxies(rows(report, |target| report.middle(target, "calls_8", |cell| cell.per_second))),
        },
        Panel {
            title: "Memory under load (MiB resident at most, less is better)",
            decimals: 0,
            rows: report.memory.iter().map(|memory| (memory.target, memory.peak_under_load)).collect(),
        },
    ];
    svg(panels.iter().filter(|panel| !panel.rows.is_empty()), &report.made.command)
}

fn rows(report: &Report, figure: impl Fn(&'static str) -> Option<f64>) -> Vec<(&'static str, f64)> {
    report.target_names().filter_map(|target| Some((target, figure(target)?))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
fn svg<'a>(panels: impl Iterator<Item = &'a Panel>, command: &str) -> String {
    let (mut drawn, mut y) = (String::new(), 0.0);
    for panel in panels {
        let most = panel.rows.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(drawn, r#"<text class="title" x="16" y="{:.0}">{}</text>"#, y + 30.0, panel.title);
        for (index, (target, value)) in panel.rows.iter().enumerate() {
            let top = y + HEAD + ROW * index as f64;
            let (length, text) = ((WIDTH - LEFT - RIGHT) * value / most, top + 13.0);
            let class = if target.starts_with("ours") { "ours" } else { "other" };
            let decimals = panel.decimals;
            let _ = writeln!(
                drawn,
                r#"<text class="label" x="{:.0}" y="{text:.0}">{target}</text><rect class="{class}" x="{LEFT:.0}" y="{top:.0}" width="{length:.1}" height="{BAR:.0}" rx="2"/><text class="value" x="{:.1}" y="{text:.0}">{value:.decimals$}</text>"#,
                LEFT - 10.0,
                LEFT + length + 8.0,
            );
        }
        y += HEAD + ROW * panel.rows.len() as f64 + GAP;
    }
    let height = y + 24.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" width="{WIDTH:.0}" height="{height:.0}" role="img" aria-label="What the proxy costs beside others">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #57606a; }}
.title {{ font-weight: 600; fill: #24292f; }}
.label {{ text-anchor: end; }}
.note {{ font-size: 11px; }}
.ours {{ fill: #1a7f64; }}
.other {{ fill: #8c959f; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #9aa4af; }}
.title {{ fill: #e6edf3; }}
.ours {{ fill: #3fb68b; }}
.other {{ fill: #6e7681; }}
}}
</style>
{drawn}<text class="note" x="16" y="{:.0}">{command}; medians of the rounds; figures and machine in proxy.json</text>
</svg>
"##,
        height - 12.0
    )
}
