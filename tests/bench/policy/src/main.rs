//! `make bench-policy`: what a decision costs, one `bench: NAME=VALUE UNIT` a line, beside the engines of others in one run.
//! The same question goes to all, and all must answer it alike: a caller of one team calls that team's tool with 2 KiB of
//! arguments, of which three are looked at. They take turns in each round.
//!
//! Figures are printed, not judged.

mod engines;

use std::time::Instant;

use anyhow::ensure;
use engines::{Cedar, Cel, Engine, Ours, Typed, When, Wild, team};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
/// Decisions of an engine in one round.
const TURNS: usize = 4000;
/// Sets of rules that are compiled for the figure of memory.
const SETS: usize = 20;

fn bench(name: &str, value: f64, unit: &str) {
    println!("bench: {name}={value:.3} {unit}");
}

/// A call of this team, two KiB long.
fn arguments(team: usize, count: u64) -> Value {
    let notes: Vec<_> = (0..16)
        .map(|number| json!({"line": number, "text": "a note of no weight for the decision, forty".repeat(2)}))
        .collect();
    json!({"path": format!("/data/{team}/reports/2026/summary.txt"), "count": count, "options": {"force": false, "notes": notes}})
}

fn main() -> anyhow::Result<()> {
    for rules in [10, 1000] {
        let engines: [(&str, Box<dyn Engine>); 6] = [
            ("typed", Box::new(Ours::<Typed>::of(rules)?)),
            ("typed_wildcards", Box::new(Ours::<Wild>::of(rules)?)),
            ("when", Box::new(Ours::<When>::of(rules)?)),
            ("cel_indexed", Box::new(Cel::of(rules, true)?)),
            ("cel_scanned", Box::new(Cel::of(rules, false)?)),
            ("cedar", Box::new(Cedar::of(rules)?)),
        ];
        let (good, bad) = (arguments(team(rules), 100), arguments(team(rules), 101));
        for (name, engine) in &engines {
            ensure!(engine.permits(&good) && !engine.permits(&bad), "{name} answers otherwise than the others");
        }
        let mut micros: Vec<Vec<f64>> = vec![Vec::new(); engines.len()];
        for _ in 0..ROUNDS {
            for ((_, engine), micros) in engines.iter().zip(&mut micros) {
                // What takes a millisecond needs no four thousand turns.
                let began = Instant::now();
                for _ in 0..TURNS {
                    let one = Instant::now();
                    ensure!(engine.permits(std::hint::black_box(&good)));
                    micros.push(one.elapsed().as_secs_f64() * 1e6);
                    if began.elapsed().as_millis() > 1000 {
                        break;
                    }
                }
            }
        }
        for ((name, _), micros) in engines.iter().zip(&mut micros) {
            micros.sort_unstable_by(f64::total_cmp);
            bench(&format!("{name}_{rules}_rules_p50"), part(micros, 50), "us");
            bench(&format!("{name}_{rules}_rules_p99"), part(micros, 99), "us");
        }
    }
    let began = Instant::now();
    let first = Ours::<Typed>::of(1000)?;
    bench("compile_1000_typed_rules", began.elapsed().as_secs_f64() * 1e3, "ms");
    let began = Instant::now();
    let second = Ours::<When>::of(1000)?;
    bench("compile_1000_when_rules", began.elapsed().as_secs_f64() * 1e3, "ms");
    drop((first, second));
    let before = resident()?;
    let kept: Vec<_> = (0..SETS).map(|_| Ours::<Typed>::of(1000)).collect::<Result<_, _>>()?;
    bench("memory_of_1000_typed_rules", (resident()? - before) / kept.len() as f64, "MiB");
    drop(kept);
    Ok(())
}

fn part(sorted: &[f64], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

/// MiB of this process.
fn resident() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
