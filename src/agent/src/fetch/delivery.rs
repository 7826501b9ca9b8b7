//! From what stores say to files and the ledger: one secret's values all or none of them.
//!
//! Does not know when stores are asked.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cardea_contract::SecretsReport;
use cardea_contract::secrets::{SecretsConfig, TroubleKind};
use cardea_secrets::{Codes, Reading, Recipient, StoreError, Value};

use super::folder::{Content, Delivered, Folder, NoFolder};
use super::ledger::{Ledger, Moment};
use super::manifest::Wanted;

/// Largest value that is delivered, in bytes.
const MAX_VALUE: usize = 1 << 20;

/// Where secrets are delivered to.
pub(super) struct Delivery {
    secrets: Vec<Target>,
    ledger: Ledger,
    codes: Arc<Codes>,
    /// Whether the ledger may say something else than before.
    news: bool,
}

struct Target {
    name: String,
    store: String,
    wanted: Vec<Wanted>,
    folder: Folder,
}

impl Delivery {
    /// Takes up what lies in the folders, with what an earlier report says of it.
    pub(super) fn open(
        config: &SecretsConfig,
        wanted: Vec<Vec<Wanted>>,
        folder: &Path,
        earlier: &SecretsReport,
        codes: Arc<Codes>,
    ) -> Result<Self, NoFolder> {
        let mut ledger = Ledger::new(config);
        let mut secrets = Vec::new();
        for (index, (secret, wanted)) in config.secrets.iter().zip(wanted).enumerate() {
            let folder = Folder::open(folder.join(&secret.name), config.same_user)?;
            let files: Vec<_> = wanted.iter().map(|wanted| wanted.path.as_path()).collect();
            if let Some(rotated) = folder.in_force(&files) {
                let earlier = earlier.secrets.iter().find(|earlier| earlier.name == secret.name);
                ledger.taken_up(index, rotated, earlier, now());
            }
            secrets.push(Target { name: secret.name.clone(), store: secret.store.clone(), wanted, folder });
        }
        Ok(Self { secrets, ledger, codes, news: true })
    }

    /// What is to be reported now.
    pub(super) fn report(&mut self) -> SecretsReport {
        self.news = false;
        self.ledger.report(now().at)
    }

    /// Whether the report may say something else than before.
    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// Time alone has changed what the report says.
    pub(super) fn look_again(&mut self) {
        self.news = true;
    }

    /// When values will have gone too long without a look, if no look goes well before.
    pub(super) fn turns_stale(&self) -> Option<Instant> {
        self.ledger.turns_stale(now().at)
    }

    fn deliver(&mut self, index: usize, reading: &Reading) -> Result<(), StoreError> {
        let Some(target) = self.secrets.get(index) else { return Ok(()) };
        let values = match target.select(reading) {
            Ok(values) => values,
            Err(unfit) => {
                if self.ledger.unfit(index, &unfit, now()) {
                    target.warn(&unfit.message);
                }
                return Ok(());
            }
        };
        let version = reading.version.clone().unwrap_or_else(|| {
            let named = target.wanted.iter().zip(&values);
            self.codes.code(named.map(|(wanted, value)| (wanted.key.as_deref().unwrap_or(""), value.expose()))).shown()
        });
        let contents: Vec<_> =
            target.wanted.iter().zip(values).map(|(wanted, value)| Content { path: &wanted.path, value }).collect();
        let new = match target.folder.deliver(&contents) {
            Ok(Delivered::Already) => None,
            Ok(Delivered::New { rotated }) => Some(rotated),
            Err(error) => {
                let message =
                    format!("its values cannot be written to memory ({}): see how large the volume is", error.kind());
                return Err(StoreError::new(TroubleKind::Unusable, message));
            }
        };
        if self.ledger.delivered(index, &version, new, now()) {
            let (secret, store) = (&target.name, &target.store);
            tracing::info!(secret, store, version, rotated = new == Some(true), "delivered");
        }
        Ok(())
    }
}

impl Recipient for Delivery {
    fn changed(&mut self, secrets: &[usize], reading: &Reading) -> Result<(), StoreError> {
        self.news = true;
        for secret in secrets {
            self.ledger.store(*secret, None, now());
        }
        secrets.iter().map(|secret| self.deliver(*secret, reading)).fold(Ok(()), Result::and)
    }

    fn same(&mut self, secrets: &[usize]) {
        self.news = true;
        for secret in secrets {
            self.ledger.store(*secret, None, now());
            if let (true, Some(target)) = (self.ledger.same(*secret), self.secrets.get(*secret)) {
                let (secret, store) = (&target.name, &target.store);
                tracing::info!(secret, store, "looked after again");
            }
        }
    }

    fn failed(&mut self, secrets: &[usize], why: &StoreError) {
        self.news = true;
        for secret in secrets {
            self.ledger.store(*secret, Some(why), now());
            if let (true, Some(target)) = (self.ledger.failed(*secret, why, now()), self.secrets.get(*secret)) {
                target.warn(&why.message);
            }
        }
    }
}

impl Target {
    /// Its values, in the order in which they are wanted.
    fn select(&self, reading: &Reading) -> Result<Vec<Value>, StoreError> {
        let value = |wanted: &Wanted| {
            let value = reading.values.value(wanted.key.as_deref())?;
            let unusable = |message| Err(StoreError::new(TroubleKind::Unusable, message));
            if value.expose().len() > MAX_VALUE {
                let name = &wanted.name;
                return unusable(format!("the value for {name} is larger than 1 MiB: keep less of it in the store"));
            }
            if wanted.variable && value.expose().contains(&0) {
                let name = &wanted.name;
                return unusable(format!(
                    "the value for the environment variable {name} has a NUL in it, as none can: deliver it as a file"
                ));
            }
            Ok(value)
        };
        self.wanted.iter().map(value).collect()
    }

    fn warn(&self, error: &str) {
        let (secret, store) = (&self.name, &self.store);
        tracing::warn!(secret, store, error, "cannot be looked after; what was delivered stays");
    }
}

/// The time of day is for the report alone.
fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Moment { at: tokio::time::Instant::now().into_std(), wall: i64::try_from(wall).unwrap_or(i64::MAX) }
}
