//! Keeps the memory of this process to itself: it holds secrets.

use anyhow::Context as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From now on nobody without rights over the whole node reads this process's memory, and no core of it is written; of
/// what it starts none either.
///
/// # Errors
/// When the kernel refuses.
pub fn run() -> anyhow::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("cannot forbid core files")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot keep the memory of this process to itself")
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn memory_is_neither_read_nor_dumped() {
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        run().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    }
}
