//! From cells to figures: medians of the rounds, and ratios of what was measured in the same round.

use std::process::Command;

use cardea_tests::process::median;
use serde::Serialize;

use crate::cells::{Cell, Cells, Memory};
use crate::targets::{Programs, Target};

const OURS: &str = "ours-everything";
const ENVOY: &str = "envoy-everything";
const ENVOY_PLAIN: &str = "envoy-plain";
const DIRECT: &str = "direct";

/// How figures came about.
#[derive(Serialize)]
pub(crate) struct Made {
    pub(crate) command: String,
    rounds: usize,
    seconds_per_cell: f64,
    cores: usize,
    kernel: String,
    processor: String,
    versions: Vec<String>,
}

impl Made {
    /// On this machine.
    pub(crate) fn here(command: &str, rounds: usize, seconds_per_cell: f64, programs: &Programs) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let mut versions = vec![concat!("cardea-proxy ", env!("CARGO_PKG_VERSION")).to_owned()];
        versions.extend(programs.envoy.as_deref().and_then(|envoy| {
            let output = Command::new(envoy).arg("--version").output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            Some(format!(
                "Envoy {}",
                text.split('/').find(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'))?
            ))
        }));
        versions.extend(
            programs
                .mcp_proxy
                .as_deref()
                .and_then(|program| {
                    let output = Command::new(program).arg("--version").output().ok()?;
                    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
                })
                .filter(|version| !version.is_empty()),
        );
        Self {
            command: command.to_owned(),
            rounds,
            seconds_per_cell,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: model.map_or_else(String::new, |(_, model)| model.to_owned()),
            versions,
        }
    }
}

/// One figure.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// What a target does.
#[derive(Serialize)]
struct Described {
    name: &'static str,
    does: &'static str,
    tools_shown: usize,
}

/// All of it, as it is written down.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) made: Made,
    targets: Vec<Described>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) memory: Vec<Memory>,
    cells: Vec<Cell>,
}

impl Report {
    pub(crate) fn of(made: Made, targets: &[Target], Cells { cells, memory }: Cells) -> Self {
        let described = targets
            .iter()
            .map(|target| Described { name: target.name, does: target.does, tools_shown: target.shown })
            .collect();
        let mut report = Self { made, targets: described, figures: Vec::new(), memory, cells };
        report.add_medians(targets);
        report.add_comparisons();
        report.add_memory();
        report
    }

    fn add(&mut self, name: impl Into<String>, value: Option<f64>, unit: &'static str) {
        self.figures.extend(value.map(|value| Figure { name: name.into(), value, unit }));
    }

    /// Every target's figures of every cell.
    fn add_medians(&mut self, targets: &[Target]) {
        let mut names: Vec<&'static str> = Vec::new();
        for cell in &self.cells {
            if !names.contains(&cell.cell) {
                names.push(cell.cell);
            }
        }
        for target in targets {
            for name in &names {
                let put = format!("{}_{name}", target.name.replace('-', "_"));
                self.add(format!("{put}_rps"), self.middle(target.name, name, |cell| cell.per_second), "req/s");
                self.add(format!("{put}_p50"), self.middle(target.name, name, |cell| cell.found.p50_us / 1e3), "ms");
                self.add(format!("{put}_p99"), self.middle(target.name, name, |cell| cell.found.p99_us / 1e3), "ms");
                self.add(
                    format!("{put}_cpu"),
                    self.middle(target.name, name, |cell| cell.cpu_us_per_request),
                    "us/req",
                );
            }
        }
    }

    /// Those that goals are set for.
    fn add_comparisons(&mut self) {
        let cpu = |cell: &Cell| cell.cpu_us_per_request;
        let ratio = |ours: f64, theirs: f64| ours / theirs;
        let over = |ours: f64, theirs: f64| ours - theirs;
        for (connections, cell) in [("1", "calls_1"), ("8", "calls_8"), ("32", "calls_32")] {
            let named = |name: &str| format!("{name}_{connections}");
            self.add(named("everything_on_cpu_vs_envoy"), self.beside(cell, OURS, ENVOY, cpu, ratio), "x");
            self.add(
                named("everything_on_rps_vs_envoy"),
                self.beside(cell, OURS, ENVOY, |cell| cell.per_second, ratio),
                "x",
            );
            self.add(named("everything_on_vs_envoy_plain"), self.beside(cell, OURS, ENVOY_PLAIN, cpu, ratio), "x");
            let p50 = |cell: &Cell| cell.found.p50_us / 1e3;
            self.add(named("everything_on_p50_over_direct"), self.beside(cell, OURS, DIRECT, p50, over), "ms");
            self.add(named("envoy_everything_p50_over_direct"), self.beside(cell, ENVOY, DIRECT, p50, over), "ms");
        }
        let first = |cell: &Cell| cell.found.first_event_p50_us.unwrap_or(f64::NAN) / 1e3;
        self.add("first_sse_byte_over_direct", self.beside("events_1", OURS, DIRECT, first, over), "ms");
        self.add("envoy_first_sse_byte_over_direct", self.beside("events_1", ENVOY, DIRECT, first, over), "ms");
        self.add(
            "new_connections_vs_envoy",
            self.beside("connects_4", OURS, ENVOY, |cell| cell.per_second, ratio),
            "x",
        );
        self.add("list_cpu_vs_envoy_8", self.beside("list_8", OURS, ENVOY, cpu, ratio), "x");
        self.add("big_cpu_vs_envoy_8", self.beside("big_8", OURS, ENVOY, cpu, ratio), "x");
    }

    fn add_memory(&mut self) {
        for (target, prefix) in [(OURS, ""), (ENVOY, "envoy_")] {
            let Some(memory) = self.memory.iter().find(|memory| memory.target == target) else { continue };
            let (idle, peak, streams, growth) =
                (memory.idle, memory.peak_under_load, memory.with_streams, memory.growth);
            self.add(format!("{prefix}rss_idle"), Some(idle), "MiB");
            self.add(format!("{prefix}rss_load"), Some(peak), "MiB");
            self.add(format!("{prefix}rss_1000_streams"), streams, "MiB");
            self.add(format!("{prefix}rss_growth"), growth, "MiB");
        }
    }

    fn of_round<'a>(&'a self, target: &str, cell: &str) -> impl Iterator<Item = &'a Cell> {
        self.cells.iter().filter(move |one| one.target == target && one.cell == cell)
    }

    /// The median of the rounds.
    pub(crate) fn middle(&self, target: &str, cell: &str, figure: impl Fn(&Cell) -> f64) -> Option<f64> {
        let figures: Vec<f64> = self.of_round(target, cell).map(figure).collect();
        (!figures.is_empty()).then(|| median(figures))
    }

    /// The median of what is compared within a round.
    fn beside(
        &self,
        cell: &str,
        ours: &str,
        theirs: &str,
        figure: impl Fn(&Cell) -> f64,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let pairs = self.of_round(ours, cell).zip(self.of_round(theirs, cell));
        let figures: Vec<f64> = pairs.map(|(ours, theirs)| compare(figure(ours), figure(theirs))).collect();
        (!figures.is_empty()).then(|| median(figures))
    }

    /// Names of the targets, in their order.
    pub(crate) fn target_names(&self) -> impl Iterator<Item = &'static str> {
        self.targets.iter().map(|target| target.name)
    }
}
