//! `make demo`: installs Cardea from its charts into the cluster at hand, puts a published MCP server behind it, and shows
//! from other pods what gets through and what does not. It talks while it works and ends with a table.

#![expect(clippy::indexing_slicing, reason = "a JSON value without the member gives null")]

mod ask;
mod control_plane;
mod install;
mod judge;
mod node;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use cardea_tests::cluster;

use crate::install::Images;
use crate::table::Table;

#[tokio::main]
async fn main() -> ExitCode {
    let began = Instant::now();
    match show().await {
        Ok(table) => {
            print(&format!("\n{table}\nin {:.0} s", began.elapsed().as_secs_f64()));
            print(&format!("demo: {} passed, {} failed", table.passed(), table.failed()));
            if table.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            print(&format!("demo: {error:#}"));
            print("demo: 0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

async fn show() -> anyhow::Result<Table> {
    let images = Images::from_env();
    if cluster::tier().as_deref() == Some("control-plane") {
        control_plane::show(&images).await
    } else {
        node::show(&images)
    }
}

/// Says what happens now.
fn say(what: &str) {
    print(&format!("demo: {what}"));
}

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn print(text: &str) {
    println!("{text}");
}
