//! Whether a value stands anywhere that it should not: in what the API server holds, in the files of the cluster (etcd,
//! the kubelet's folders, containers' layers, every log), in a command line, in metrics. It is looked for as it is and in
//! the forms in which it would get there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use cardea_tests::cluster::{http_get, setting};
use cardea_tests::kubectl::kubectl;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use regex::bytes::{Regex, RegexBuilder};

/// A piece of a file that is searched at once; pieces overlap by as much as the longest form may have.
const PIECE: usize = 4 << 20;
const OVERLAP: usize = 1 << 10;

/// Values that are looked for.
pub(crate) struct Canaries(Regex);

impl Canaries {
    pub(crate) fn new(values: &[&str]) -> anyhow::Result<Self> {
        let forms: Vec<String> =
            values.iter().flat_map(|value| forms(value)).map(|form| regex::escape(&form)).collect();
        Ok(Self(RegexBuilder::new(&forms.join("|")).unicode(false).build()?))
    }

    /// Where they stand. `pods` are those whose metrics are read.
    pub(crate) async fn found(&self, pods: &[Pod]) -> anyhow::Result<Vec<String>> {
        let mut found = self.in_objects()?;
        found.extend(self.in_command_lines()?);
        let cluster = setting("CARDEA_CLUSTER_DIR").context("no folder of a cluster")?;
        let mut files = 0;
        for folder in [cluster.as_str(), "/var/log/pods", "/var/log/containers"] {
            let folder = Path::new(folder);
            if let Ok(root) = fs::metadata(folder) {
                self.in_files(folder, root.dev(), &mut files, &mut found)?;
            }
        }
        ensure!(files > 100, "{files} files only were looked at");
        for pod in pods {
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).context("an address")?;
            let metrics = http_get(&format!("{address}:9090"), "/metrics").await?;
            ensure!(metrics.contains("cardea_"), "no metrics: {metrics}");
            found.extend(self.0.is_match(metrics.as_bytes()).then(|| format!("metrics of {}", pod.name_any())));
        }
        Ok(found)
    }

    /// Every object of every kind that can be listed, events included.
    fn in_objects(&self) -> anyhow::Result<Vec<String>> {
        let kinds = kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
        let mut found = Vec::new();
        for kind in kinds.split_whitespace() {
            let listed = kubectl(&["get", kind, "--all-namespaces", "--ignore-not-found", "--output=json"])?;
            found.extend(self.0.is_match(listed.as_bytes()).then(|| format!("objects: {kind}")));
        }
        Ok(found)
    }

    fn in_command_lines(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for process in fs::read_dir("/proc")? {
            let file = process?.path().join("cmdline");
            // One that ended meanwhile has nothing any more.
            let Ok(line) = fs::read(&file) else { continue };
            found.extend(self.0.is_match(&line).then(|| file.display().to_string()));
        }
        Ok(found)
    }

    /// What lies on the disk: what is mounted below (memory, kernel) is another device.
    fn in_files(&self, folder: &Path, device: u64, files: &mut u32, found: &mut Vec<String>) -> anyhow::Result<()> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.dev() != device {
                continue;
            }
            if metadata.is_dir() {
                self.in_files(&path, device, files, found)?;
            } else if metadata.is_file() {
                *files += 1;
                found.extend(self.in_file(&path).then(|| path.display().to_string()));
            }
        }
        Ok(())
    }

    fn in_file(&self, path: &Path) -> bool {
        use std::io::Read as _;
        let Ok(mut file) = fs::File::open(path) else { return false };
        let mut piece = Vec::with_capacity(PIECE + OVERLAP);
        loop {
            let kept = piece.len().min(OVERLAP);
            piece.drain(..piece.len() - kept);
            match file.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
                Ok(0) | Err(_) => return false,
                Ok(_) if self.0.is_match(&piece) => return true,
                Ok(_) => {}
            }
        }
    }
}

/// A text as it is, in base64 at each of the three places that it may have in a longer text, in hexadecimal, and in a URL.
fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned()];
    for before in 0..3 {
        let padded = [&b"\0\0"[..before], text.as_bytes()].concat();
        for alphabet in [&STANDARD, &URL_SAFE] {
            let encoded = alphabet.encode(&padded);
            // What stands at the ends depends on what comes before and after.
            let inner = encoded.trim_end_matches('=');
            forms.push(inner[before + usize::from(before > 0)..inner.len() - 2].to_owned());
        }
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_uppercase());
    forms.push(hex);
    let encoded = |upper: bool| -> String {
        let escape = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { escape(byte) }).collect()
    };
    forms.extend([encoded(true), encoded(false)]);
    forms
}
